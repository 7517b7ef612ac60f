// The form: settings out of its fields and back, and at each field what is wrong with it.

import { INPUTS } from "./messages.js";
import * as source from "./source.js";

const form = document.getElementById("form");
const formError = document.getElementById("form-error");
const list = document.getElementById("adapters");
const UINT32 = 2n ** 32n - 1n;
const UINT64 = 2n ** 64n - 1n;

/** Joins each slider with the number beside it. */
export function joinSliders() {
  for (const slider of form.querySelectorAll("input[data-of]")) {
    join(slider, document.getElementById(slider.dataset.of));
  }
  form.addEventListener("input", (event) => clearViolation(event.target));
}

/** Fills in what the model does by itself. */
export function showDefaults({ size, sampling, fps, input, enhancesPrompts }) {
  document.getElementById("enhance").hidden = !enhancesPrompts;
  source.ask(INPUTS[input]);
  form.elements.fps.placeholder = fps;
  const sliderTo = (name, max) => {
    form.querySelector(`[data-of="${name}"]`).max = max;
  };
  sliderTo("num_inference_steps", Math.max(100, sampling.steps * 2));
  // The largest 8n+1 within two of the model's lengths.
  sliderTo("num_frames", size.numFrames * 2 - 1);
  fill({ ...size, ...sampling, seed: undefined });
}

/** Lists adapters; those that were chosen before stay chosen. */
export function showAdapters(adapters) {
  const before = new Map(rows().map((row) => [row.dataset.name, row]));
  const kept = adapters.map((adapter) => before.get(adapter.name) ?? adapterRow(adapter));
  list.replaceChildren(...kept);
  document.getElementById("no-adapters").hidden = adapters.length > 0;
}

/** Puts settings into the fields. */
export function fill(settings) {
  const texts = {
    prompt: settings.prompt,
    negative_prompt: settings.negativePrompt,
    num_inference_steps: settings.steps,
    guidance_scale: settings.guidance,
    num_frames: settings.numFrames,
    width: settings.width,
    height: settings.height,
    seed: settings.seed ?? "",
    scheduler: settings.scheduler,
    strength: settings.strength,
  };
  for (const [name, value] of Object.entries(texts)) {
    if (value === undefined) continue;
    form.elements[name].value = value;
    form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
  }
  if (!settings.adapters) return;
  // Where these were the server's to choose they are so again.
  form.elements.fps.value = settings.fps ?? "";
  form.elements.num_videos.value = settings.numVideos ?? "";
  source.choose(settings.image ?? settings.video ?? []);
  form.elements.enhance_prompt.checked = settings.enhance;
  form.elements.compare.checked = settings.compare;
  const scales = new Map(settings.adapters.map(({ name, scale }) => [name, scale]));
  for (const row of rows()) choose(row, scales.get(row.dataset.name));
}

/** The settings in the fields, or undefined where one is no number; its field then says so. */
export function read() {
  clearViolations();
  const violations = source.missing() ? [source.missing()] : [];
  const parsed = (field, input, parse) => {
    try {
      return parse(input);
    } catch (error) {
      violations.push({ field, description: error.message });
      return undefined;
    }
  };
  const of = (name, parse) => parsed(name, form.elements[name], parse);
  const settings = {
    prompt: form.elements.prompt.value,
    negativePrompt: form.elements.negative_prompt.value,
    steps: of("num_inference_steps", uint32),
    guidance: of("guidance_scale", number),
    numFrames: of("num_frames", uint32),
    width: of("width", uint32),
    height: of("height", uint32),
    seed: of("seed", (input) => whole(input, UINT64)),
    fps: of("fps", uint32),
    numVideos: of("num_videos", uint32),
    ...source.read(),
    strength: source.departs() ? of("strength", number) : undefined,
    scheduler: Number(form.elements.scheduler.value),
    adapters: chosenRows().map((row, index) => ({
      name: row.dataset.name,
      scale: parsed(`adapters[${index}].scale`, scaleOf(row), number) ?? 1,
    })),
    enhance: form.elements.enhance_prompt.checked,
    compare: form.elements.compare.checked,
  };
  if (violations.length === 0) return settings;
  showViolations(violations);
  return undefined;
}

/** Explains each violation at its field, and goes to the first. */
export function showViolations(violations) {
  const strays = [];
  for (const { field, description } of violations) {
    const { input, error } = place(field);
    if (!error) {
      strays.push(`${field}: ${description}`);
      continue;
    }
    error.textContent = error.hidden ? description : `${error.textContent}; ${description}`;
    error.hidden = false;
    input?.setAttribute("aria-invalid", "true");
    input?.setAttribute("aria-describedby", error.id);
    const folded = error.closest("details");
    if (folded) folded.open = true;
  }
  if (strays.length > 0) showError(strays.join("; "));
  form.querySelector("[aria-invalid=true]")?.focus();
}

/** Says what is wrong that no field is to blame for. */
export function showError(message) {
  formError.textContent = message;
  formError.hidden = false;
}

/** Where a field of the request stands: adapters by their place among the chosen ones. */
function place(field) {
  const [, index] = field.match(/^adapters\[(\d+)\]/) ?? [];
  if (index === undefined) {
    return { input: form.elements[field], error: document.getElementById(`${field}-error`) };
  }
  const row = chosenRows()[index];
  return { input: row && scaleOf(row), error: row?.querySelector(".error") };
}

function clearViolations() {
  formError.hidden = true;
  form.querySelectorAll("[aria-invalid]").forEach(clearViolation);
  form.querySelectorAll(".error").forEach((error) => { error.hidden = true; });
}

function clearViolation(input) {
  const error = document.getElementById(input.getAttribute("aria-describedby"));
  if (error) error.hidden = true;
  input.removeAttribute("aria-invalid");
  input.removeAttribute("aria-describedby");
}

function adapterRow(adapter) {
  const row = document.getElementById("adapter-template").content.firstElementChild.cloneNode(true);
  row.dataset.name = adapter.name;
  row.querySelector(".name").textContent = adapter.name;
  row.querySelector(".about").textContent = about(adapter);
  const warnings = row.querySelector(".warnings");
  warnings.hidden = adapter.warnings.length === 0;
  warnings.querySelector("summary").textContent = adapter.warnings.length === 1 ? "1 warning" : `${adapter.warnings.length} warnings`;
  warnings.querySelector("ul").append(...adapter.warnings.map((warning) => {
    const item = document.createElement("li");
    item.textContent = warning;
    return item;
  }));
  row.querySelector(".error").id = `adapter-${adapter.name}-error`;
  const [slider, scale] = [row.querySelector("[type=range]"), scaleOf(row)];
  slider.setAttribute("aria-label", `Scale of ${adapter.name}, slider`);
  scale.setAttribute("aria-label", `Scale of ${adapter.name}`);
  join(slider, scale);
  checkbox(row).addEventListener("change", () => enable(row));
  enable(row);
  return row;
}

function about({ ranks, targets, targetsOfModel }) {
  const rank = ranks.map(({ rank }) => rank).join(", ");
  const layers = targets === targetsOfModel ? "all layers" : `${targets} of ${targetsOfModel} layers`;
  return `rank ${rank}, ${layers}`;
}

function choose(row, scale) {
  checkbox(row).checked = scale !== undefined;
  if (scale !== undefined) {
    scaleOf(row).value = scale;
    scaleOf(row).dispatchEvent(new Event("input", { bubbles: true }));
  }
  enable(row);
}

function enable(row) {
  for (const input of row.querySelectorAll(".slider input")) input.disabled = !checkbox(row).checked;
}

function join(slider, input) {
  slider.addEventListener("input", () => {
    input.value = slider.value;
    clearViolation(input);
  });
  input.addEventListener("input", () => { slider.value = input.value; });
}

const rows = () => [...list.children];
const chosenRows = () => rows().filter((row) => checkbox(row).checked);
const checkbox = (row) => row.querySelector("[type=checkbox]");
const scaleOf = (row) => row.querySelector("[type=number]");

/** A number, or undefined where the field is empty. */
function number(input) {
  if (input.validity.badInput) throw new Error("expected a number, found something else");
  return input.value === "" ? undefined : Number(input.value);
}

const uint32 = (input) => {
  const value = whole(input, UINT32);
  return value === undefined ? undefined : Number(value);
};

/** A whole number, or undefined where the field is empty. */
function whole(input, max) {
  const text = input.value.trim();
  if (input.validity.badInput) throw new Error("expected a whole number, found something else");
  if (text === "") return undefined;
  if (!/^\d+$/.test(text)) throw new Error(`expected a whole number, found ${text}`);
  if (BigInt(text) > max) throw new Error(`expected at most ${max}, found ${text}`);
  return BigInt(text);
}
