// The messages of protos/cogwheel that the page sends and reads: field numbers as they stand there.

import { Writer, bool, bytes, decode, double, float, message, repeated, string, uint, uint64 } from "./wire.js";

export const SCHEDULERS = { 1: "DDIM", 2: "DPM" };
export const STAGES = { 1: "text-encoder", 2: "denoiser", 3: "vae", 4: "vae-encoder" };
/** What a model wants beside the prompt: nothing or a video to start from, an image, a control video. */
export const INPUTS = { 0: "start", 1: "image", 2: "control" };

const VideoSize = { 1: ["numFrames", uint], 2: ["width", uint], 3: ["height", uint] };
const Sampling = {
  1: ["steps", uint],
  2: ["guidance", double],
  3: ["scheduler", uint],
  5: ["seed", uint64],
};

const GetModelResponse = {
  1: ["name", string],
  2: ["family", string],
  3: ["size", message(VideoSize)],
  4: ["sampling", message(Sampling)],
  5: ["fps", uint],
  10: ["input", uint],
  20: ["enhancesPrompts", bool],
};

const RankCount = { 1: ["rank", uint], 2: ["targets", uint] };
const Adapter = {
  1: ["name", string],
  4: ["layout", string],
  7: ["targets", uint],
  8: ["targetsOfModel", uint],
  9: ["ranks", repeated(message(RankCount))],
  16: ["warnings", repeated(string)],
};
const ListAdaptersResponse = { 1: ["adapters", repeated(message(Adapter))] };

const AcceptedAdapter = { 1: ["name", string], 3: ["scale", float] };
const Accepted = {
  2: ["size", message(VideoSize)],
  3: ["sampling", message(Sampling)],
  4: ["fps", uint],
  5: ["numVideos", uint],
  6: ["adapters", repeated(message(AcceptedAdapter))],
  7: ["strength", double],
};
const ArtifactHeader = { 1: ["name", string], 2: ["mediaType", string], 3: ["byteLength", uint] };
const GenerateVideoResponse = {
  1: ["videoIndex", uint],
  2: ["accepted", message(Accepted)],
  3: ["stageStarted", message({ 1: ["stage", uint] })],
  4: ["queued", message({ 1: ["stage", uint], 2: ["position", uint] })],
  5: ["step", message({ 1: ["step", uint], 2: ["steps", uint], 4: ["seconds", double] })],
  6: ["frames", message({ 1: ["frames", uint], 2: ["numFrames", uint] })],
  9: ["artifact", message({ 1: ["header", message(ArtifactHeader)], 2: ["chunk", bytes] })],
  10: ["completed", message({ 1: ["seed", uint64], 2: ["seconds", double], 4: ["variant", string] })],
  11: ["notice", message({ 1: ["message", string] })],
  13: ["tiles", message({ 1: ["tiles", uint], 2: ["numTiles", uint] })],
  12: ["merging", message({ 1: ["tensors", uint], 2: ["numTensors", uint] })],
  14: ["encoded", message({ 1: ["frames", uint], 2: ["numFrames", uint] })],
  15: ["enhanced", message({ 1: ["prompt", string] })],
};

const FieldViolation = { 1: ["field", string], 2: ["description", string] };
const BadRequest = { 1: ["violations", repeated(message(FieldViolation))] };
const Any = { 1: ["type", string], 2: ["value", bytes] };
const Status = { 3: ["details", repeated(message(Any))] };

export const emptyRequest = () => new Uint8Array();
export const readModel = (bytes) => decode(bytes, GetModelResponse);
export const readAdapters = (bytes) => decode(bytes, ListAdaptersResponse).adapters;
export const readEvent = (bytes) => decode(bytes, GenerateVideoResponse);

/**
 * A GenerateVideoRequest; what the settings do not say is the server's to choose. `given` has the bytes of an
 * `image`, or of a video: its `file`, or its `pictures`.
 */
export function writeRequest(settings, given) {
  const writer = new Writer()
    .string(1, settings.prompt)
    .string(2, settings.negativePrompt)
    .uint(3, settings.width)
    .uint(4, settings.height)
    .uint(5, settings.numFrames)
    .uint(6, settings.fps)
    .uint(7, settings.steps)
    .double(8, settings.guidance)
    .uint(9, settings.scheduler)
    .uint(11, settings.seed)
    .uint(12, settings.numVideos)
    .uint(13, 1) // MP4
    .double(19, settings.strength)
    .uint(20, settings.enhance ? 1 : undefined)
    .string(21, settings.enhancedPrompt);
  for (const { name, scale } of settings.adapters) {
    writer.bytes(16, new Writer().string(1, name).float(2, scale).finish());
  }
  if (given.image) writer.bytes(17, given.image);
  if (given.file) writer.bytes(18, new Writer().bytes(1, given.file).finish());
  if (given.pictures) {
    const pictures = new Writer();
    given.pictures.forEach((picture) => pictures.bytes(1, picture));
    writer.bytes(18, new Writer().bytes(2, pictures.finish()).finish());
  }
  return writer.finish();
}

/** The violated fields in a google.rpc.Status. */
export function readViolations(status) {
  return decode(status, Status)
    .details.filter(({ type }) => type.endsWith("/google.rpc.BadRequest"))
    .flatMap(({ value }) => decode(value ?? new Uint8Array(), BadRequest).violations);
}
