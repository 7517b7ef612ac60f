// The panel that shows what happens while a clip is made.

import { STAGES } from "./messages.js";

const panel = document.getElementById("progress");
const title = document.getElementById("progress-title");
const bar = document.getElementById("bar");
const counter = document.getElementById("counter");
const left = document.getElementById("left");
const cancel = document.getElementById("cancel");
const stages = [...document.getElementById("stages").children];
const encoder = stages.find((item) => item.dataset.stage === "vae-encoder");
const announcements = document.getElementById("announcements");

const BEGUN = { "text-encoder": "Reading the prompt", "vae-encoder": "Encoding", denoiser: "Starting", vae: "Decoding" };
/** Time left is judged by so many of the last steps. */
const RECENT = 8;
let recent = [];
let making = "";
let videos = 1;

/** Tells those who do not see the page. */
export function announce(text) {
  announcements.textContent = text;
}

/** Starts to show videos' progress. `encoded` names what they are made from beside the prompt, if anything. */
export function begin(text, encoded) {
  panel.hidden = false;
  panel.dataset.state = "running";
  cancel.hidden = false;
  [making, videos, recent] = [text, 1, []];
  title.textContent = text;
  encoder.hidden = encoded === undefined;
  encoder.textContent = encoded ?? "";
  show("Waiting for the server", undefined, "");
  enter(undefined);
  announce(text);
}

/** Shows an event. */
export function update({ videoIndex, accepted, stageStarted, enhanced, queued, merging, encoded, step, tiles, frames }) {
  if (accepted) {
    videos = accepted.numVideos;
  } else if (stageStarted) {
    title.textContent = videos > 1 ? `${making}, clip ${videoIndex + 1} of ${videos}` : making;
    const name = STAGES[stageStarted.stage];
    enter(name);
    const stage = stages.find((item) => item.dataset.stage === name);
    recent = [];
    show(BEGUN[name] ?? "", undefined, "");
    if (stage) announce(stage.textContent);
  } else if (enhanced) {
    show("The prompt is written out", undefined, "");
  } else if (queued) {
    const others = queued.position === 1 ? "1 request" : `${queued.position} requests`;
    show(`Waiting: ${others} before this one`, undefined, "");
  } else if (merging) {
    const { tensors, numTensors } = merging;
    show(`Merging adapters: ${tensors} of ${numTensors} tensors`, tensors / numTensors, "");
  } else if (encoded) {
    show(`Encoded frame ${encoded.frames} of ${encoded.numFrames}`, encoded.frames / encoded.numFrames, "");
  } else if (step) {
    recent = [...recent, step.seconds].slice(-RECENT);
    const seconds = recent.reduce((sum, each) => sum + each, 0) / recent.length;
    show(`Step ${step.step} of ${step.steps}`, step.step / step.steps, timeLeft(seconds * (step.steps - step.step)));
  } else if (tiles) {
    show(`Tile ${tiles.tiles} of ${tiles.numTiles}`, tiles.tiles / tiles.numTiles, "");
  } else if (frames) {
    show(`Frame ${frames.frames} of ${frames.numFrames}`, frames.frames / frames.numFrames, "");
  }
}

/** Ends it: `state` is done, refused, cancelled or failed. What was reached of a clip stays visible. */
export function end(state, text) {
  panel.dataset.state = state;
  panel.hidden = state === "done" || state === "refused";
  title.textContent = text;
  left.textContent = "";
  cancel.hidden = true;
  announce(text);
}

function show(text, share, time) {
  counter.textContent = text;
  left.textContent = time;
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

function enter(name) {
  const current = stages.findIndex((item) => item.dataset.stage === name);
  stages.forEach((item, index) => {
    item.classList.toggle("done", index < current);
    if (index === current) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  });
}

function timeLeft(seconds) {
  if (seconds < 1) return "less than 1 s left";
  if (seconds < 100) return `about ${Math.round(seconds)} s left`;
  return `about ${Math.round(seconds / 60)} min left`;
}
