// The panel that shows what happens while a clip is made.

import { STAGES } from "./messages.js";

const panel = document.getElementById("progress");
const title = document.getElementById("progress-title");
const bar = document.getElementById("bar");
const counter = document.getElementById("counter");
const left = document.getElementById("left");
const cancel = document.getElementById("cancel");
const stages = [...document.getElementById("stages").children];
const announcements = document.getElementById("announcements");

/** Time left is judged by so many of the last steps. */
const RECENT = 8;
let recent = [];

/** Tells those who do not see the page. */
export function announce(text) {
  announcements.textContent = text;
}

/** Starts to show a video's progress. */
export function begin(text) {
  panel.hidden = false;
  panel.dataset.state = "running";
  cancel.hidden = false;
  title.textContent = text;
  recent = [];
  show("Waiting for the server", undefined, "");
  enter(undefined);
  announce(text);
}

/** Shows an event. */
export function update({ stageStarted, enhanced, queued, merging, step, tiles, frames }) {
  if (stageStarted) {
    const name = STAGES[stageStarted.stage];
    enter(name);
    const stage = stages.find((item) => item.dataset.stage === name);
    show({ "text-encoder": "Reading the prompt", denoiser: "Starting", vae: "Decoding" }[name] ?? "", undefined, "");
    if (stage) announce(stage.textContent);
  } else if (enhanced) {
    show("The prompt is written out", undefined, "");
  } else if (queued) {
    const others = queued.position === 1 ? "1 request" : `${queued.position} requests`;
    show(`Waiting: ${others} before this one`, undefined, "");
  } else if (merging) {
    const { tensors, numTensors } = merging;
    show(`Merging adapters: ${tensors} of ${numTensors} tensors`, tensors / numTensors, "");
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
