// One video, from its settings to a playable file.

import { stream } from "./grpcweb.js";
import { readEvent, writeRequest } from "./messages.js";

const METHOD = "cogwheel.generation.v1.GenerationService/GenerateVideo";

/**
 * Makes a video and tells `onEvent` what happens meanwhile. Gives the file, and how the request was
 * understood: its settings with every default filled in.
 */
export async function makeVideo(settings, onEvent, signal) {
  let accepted;
  let completed;
  let mediaType = "video/mp4";
  const chunks = [];
  let enhancedPrompt = settings.enhancedPrompt;
  const notices = [];
  for await (const bytes of stream(METHOD, writeRequest(settings), signal)) {
    const event = readEvent(bytes);
    if (event.accepted) accepted = event.accepted;
    if (event.artifact?.header) mediaType = event.artifact.header.mediaType;
    // A copy: the bytes lie in a buffer that is reused.
    if (event.artifact?.chunk) chunks.push(event.artifact.chunk.slice());
    if (event.completed) completed = event.completed;
    if (event.enhanced) enhancedPrompt = event.enhanced.prompt;
    if (event.notice) notices.push(event.notice.message);
    onEvent(event);
  }
  return {
    file: new Blob(chunks, { type: mediaType }),
    seconds: completed.seconds,
    notices: enhancedPrompt ? [`Written out: ${enhancedPrompt}`, ...notices] : notices,
    fps: accepted.fps,
    settings: {
      ...settings,
      enhancedPrompt,
      ...accepted.size,
      steps: accepted.sampling.steps,
      guidance: accepted.sampling.guidance,
      scheduler: accepted.sampling.scheduler,
      seed: accepted.sampling.seed,
    },
  };
}
