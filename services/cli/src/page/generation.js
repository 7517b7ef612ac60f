// Videos, from their settings to playable files.

import { bytesOf, isPicture } from "./files.js";
import { stream } from "./grpcweb.js";
import { readEvent, writeRequest } from "./messages.js";

const METHOD = "cogwheel.generation.v1.GenerationService/GenerateVideo";

/**
 * Makes the videos of a request. Gives each `event` as it comes, and each `video` once it is complete: its
 * file, and how the request was understood: its settings with every default filled in.
 */
export async function* makeVideos(settings, signal) {
  let accepted;
  let mediaType = "video/mp4";
  let chunks = [];
  let { enhancedPrompt } = settings;
  // Each is said once, whichever video it is about.
  const notices = new Set();
  for await (const bytes of stream(METHOD, writeRequest(settings, await given(settings)), signal)) {
    const event = readEvent(bytes);
    if (event.accepted) accepted = event.accepted;
    if (event.artifact?.header) mediaType = event.artifact.header.mediaType;
    // A copy: the bytes lie in a buffer that is reused.
    if (event.artifact?.chunk) chunks.push(event.artifact.chunk.slice());
    if (event.enhanced) enhancedPrompt = event.enhanced.prompt;
    if (event.notice) notices.add(event.notice.message);
    yield { event };
    if (!event.completed) continue;
    yield {
      video: {
        index: event.videoIndex,
        count: accepted.numVideos,
        file: new Blob(chunks, { type: mediaType }),
        seconds: event.completed.seconds,
        notices: enhancedPrompt ? [`Written out: ${enhancedPrompt}`, ...notices] : [...notices],
        fps: accepted.fps,
        settings: { ...understood(settings, accepted), enhancedPrompt, seed: event.completed.seed },
      },
    };
    chunks = [];
  }
}

function understood(settings, { size, sampling, strength }) {
  return {
    ...settings,
    ...size,
    steps: sampling.steps,
    guidance: sampling.guidance,
    scheduler: sampling.scheduler,
    // None without a video to depart from.
    strength: strength || undefined,
  };
}

/** The bytes of what a request brings beside its prompt. */
async function given({ image, video }) {
  if (image) return { image: await bytesOf(image[0]) };
  if (!video) return {};
  if (!isPicture(video[0])) return { file: await bytesOf(video[0]) };
  return { pictures: await Promise.all(video.map(bytesOf)) };
}
