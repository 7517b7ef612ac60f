// What a video is made from beside its prompt: files that are chosen, dropped or pasted.

import { ACCEPTED, checked, measured, named } from "./files.js";
import * as preview from "./preview.js";

const WANTED = {
  start: {
    field: "video",
    title: "Start from a video",
    hint: "Optional. MP4, GIF or pictures, dropped or pasted as well.",
    choose: "Choose a video",
    departs: true,
  },
  image: {
    field: "image",
    title: "Start from an image",
    hint: "PNG, JPEG or WebP, dropped or pasted as well.",
    choose: "Choose an image",
    missing: "expected an image to start from, found none",
  },
  control: {
    field: "video",
    title: "Control video",
    hint: "MP4, GIF or pictures, dropped or pasted as well.",
    choose: "Choose a video",
    missing: "expected a video that controls the new one, found none",
  },
};

const group = document.getElementById("source");
const input = document.getElementById("source-file");
const error = document.getElementById("source-error");
/** One of those that are wanted, once the model is known. */
let wanted;
let chosen = [];

/** Lets files be chosen; `refuse` is told why some are not taken. */
export function letChoose(refuse) {
  const take = (files) => {
    try {
      choose(checked(wanted.field, files));
    } catch ({ message }) {
      choose(chosen);
      refuse([{ field: wanted.field, description: message }]);
    }
  };
  input.addEventListener("change", () => take([...input.files]));
  document.getElementById("remove").addEventListener("click", () => {
    choose([]);
    input.focus();
  });
  letDrop(take);
  document.addEventListener("paste", (event) => {
    const { files, types } = event.clipboardData;
    // Text that some programs bring a picture of is text where one writes.
    const isText = types.includes("text/plain") && event.target.matches?.("input, textarea");
    if (!wanted || files.length === 0 || isText) return;
    event.preventDefault();
    take([...files]);
  });
}

/** Asks for what a model wants: one of `INPUTS`. */
export function ask(kind) {
  wanted = WANTED[kind];
  group.hidden = !wanted;
  if (!wanted) return;
  const { field, title, hint, missing } = wanted;
  document.getElementById("source-title").textContent = title;
  document.getElementById("source-hint").textContent = hint;
  Object.assign(input, { name: field, accept: ACCEPTED[field], multiple: field === "video", required: missing !== undefined });
  error.id = `${field}-error`;
  choose([]);
}

/** Takes files instead of those that were chosen before; none where there are none. */
export function choose(files) {
  chosen = files;
  // The field says it to who cannot see the pictures.
  const transfer = new DataTransfer();
  files.forEach((file) => transfer.items.add(file));
  input.files = transfer.files;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  const isChosen = files.length > 0;
  preview.show(document.getElementById("preview"), files);
  document.getElementById("source-name").textContent = isChosen ? `${named(files)}, ${measured(files)}` : "";
  document.getElementById("choose").textContent = isChosen ? "Choose another" : wanted?.choose ?? "";
  document.getElementById("source-hint").hidden = isChosen;
  document.getElementById("remove").hidden = !isChosen;
  document.getElementById("departure").hidden = !departs();
}

/** Whether there is a video to depart from. */
export const departs = () => chosen.length > 0 && wanted.departs === true;

/** What is missing, as a violation; undefined where nothing is. */
export function missing() {
  if (chosen.length > 0 || !wanted?.missing) return undefined;
  return { field: wanted.field, description: wanted.missing };
}

/** The settings: an image, or the files of a video. */
export const read = () => (chosen.length > 0 ? { [wanted.field]: chosen } : {});

/** Files may be dropped anywhere: elsewhere the browser would leave the page for them. */
function letDrop(take) {
  const over = (is) => group.toggleAttribute("data-over", is);
  document.addEventListener("dragover", (event) => {
    if (!wanted || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    over(true);
  });
  document.addEventListener("dragleave", (event) => over(event.relatedTarget !== null && group.hasAttribute("data-over")));
  document.addEventListener("drop", (event) => {
    over(false);
    if (!wanted || event.dataTransfer.files.length === 0) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
    group.scrollIntoView({ block: "nearest" });
  });
}
