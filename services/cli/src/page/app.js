// The page: asks the server what it has, and makes what the form says.

import * as form from "./form.js";
import { makeVideos } from "./generation.js";
import { CallError, unary } from "./grpcweb.js";
import { Card, label, letPause } from "./history.js";
import { INPUTS, emptyRequest, readAdapters, readModel } from "./messages.js";
import * as progress from "./progress.js";
import * as source from "./source.js";

const make = document.getElementById("make");
/** Aborts the clip that is being made; undefined when there is none. */
let running;
/** Takes a clip that another is to start from; undefined where the model starts from none. */
let start;

form.joinSliders();
source.letChoose(form.showViolations);
letPause();
document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
document.getElementById("cancel").addEventListener("click", () => running?.abort());
document.getElementById("reload").addEventListener("click", () => guarded(loadAdapters));
document.getElementById("random").addEventListener("click", () => form.fill({}));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
await guarded(async () => {
  const model = readModel(await unary("cogwheel.generation.v1.GenerationService/GetModel", emptyRequest()));
  document.getElementById("model").textContent = `${model.name}: ${model.family}`;
  form.showDefaults(model);
  if (INPUTS[model.input] === "start") start = startFrom;
  await loadAdapters();
});
document.body.dataset.ready = "yes";

async function loadAdapters() {
  const answer = await unary("cogwheel.adapter.v1.AdapterService/ListAdapters", emptyRequest());
  form.showAdapters(readAdapters(answer));
}

/** Makes what the form says: the clip, and beside it that of the model as it is. */
async function run() {
  if (running) return;
  const settings = form.read();
  if (!settings) return;
  running = new AbortController();
  make.setAttribute("aria-disabled", "true");
  const variants = [settings];
  if (settings.compare && settings.adapters.length > 0) variants.push({ ...settings, adapters: [] });
  const card = new Card(variants.map(label), use, start);
  const encoded = settings.image ? "Image" : settings.video && "Video";
  try {
    let { seed, enhance } = settings;
    let enhancedPrompt;
    for (const [index, variant] of variants.entries()) {
      const count = variants.length > 1 ? ` (${index + 1} of ${variants.length})` : "";
      progress.begin(`Making: ${label(variant)}${count}`, encoded);
      const asked = { ...variant, seed, enhance, enhancedPrompt };
      for await (const { event, video } of makeVideos(asked, running.signal)) {
        if (event) progress.update(event);
        if (!video) continue;
        // A seed that the server has drawn is the others' too, and so is a prompt that was written out.
        if (video.index === 0) ({ seed, enhancedPrompt } = video.settings);
        card.add(index, video, { ...video.settings, enhance: settings.enhance, compare: settings.compare });
      }
      enhance = false;
    }
    progress.end("done", "The clip is ready");
    bringToView();
  } catch (error) {
    stopped(error, running.signal.aborted, card);
  } finally {
    running = undefined;
    make.removeAttribute("aria-disabled");
  }
}

/** Says why a clip was not made. */
function stopped(error, cancelled, card) {
  card.leave(cancelled ? "cancelled" : "failed");
  if (cancelled) {
    progress.end("cancelled", "Cancelled");
    bringToView();
  } else if (error instanceof CallError && error.isOfFields) {
    progress.end("refused", "A setting cannot be used");
    form.showViolations(error.violations);
  } else {
    progress.end("failed", "Not made");
    form.showError(error.message);
  }
}

/** What was made lies below the form on a phone, and beside it, at the top of its column, elsewhere. */
function bringToView() {
  const results = document.getElementById("results");
  results.scrollTo({ top: 0 });
  if (matchMedia("(width < 820px)").matches) results.scrollIntoView();
}

function use(settings) {
  form.fill(settings);
  document.getElementById("prompt").focus();
}

function startFrom(clip) {
  source.choose([clip]);
  document.getElementById("source").scrollIntoView({ block: "nearest" });
  document.getElementById("prompt").focus();
}

/** Does what needs the server, and says it where the server does not answer. */
async function guarded(work) {
  try {
    await work();
  } catch (error) {
    form.showError(error.message);
  }
}
