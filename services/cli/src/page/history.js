// What was made: cards, newest first, in this page's memory.

import { named } from "./files.js";
import { SCHEDULERS } from "./messages.js";

/** Cards beyond this many take the oldest's place: their files are in memory. */
const MAX_CLIPS = 60;

const list = document.getElementById("history");
const empty = document.getElementById("empty");
const pause = document.getElementById("pause");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let paused = still.matches;

/** Lets the clips be stopped: they move for as long as the page is open. */
export function letPause() {
  showPaused();
  pause.addEventListener("click", () => {
    paused = !paused;
    showPaused();
    for (const video of list.querySelectorAll("video")) paused ? video.pause() : video.play();
  });
}

/** A new card, with a place for each label's videos; it is shown with its first one. */
export class Card {
  #element = document.getElementById("clip-template").content.firstElementChild.cloneNode(true);
  #labels;
  #start;
  /** Those of each label one below the other. */
  #places = [];
  #urls = [];

  /** `use` takes the card's settings; `start` a clip that another is to start from, where the model can do that. */
  constructor(labels, use, start) {
    this.#labels = labels;
    this.#start = start;
    this.#element.querySelector(".use").addEventListener("click", () => use(this.settings));
    this.#element.release = () => this.#urls.forEach((url) => URL.revokeObjectURL(url));
  }

  /** Puts a video of a label into its place. `shown` are the settings that belong to the card. */
  add(column, { index, count, file, seconds, notices, fps, settings }, shown) {
    if (this.#places.length === 0) this.#show(shown, count, fps, seconds);
    const { width, height } = settings;
    const figure = this.#places[column * count + index];
    const url = URL.createObjectURL(file);
    this.#urls.push(url);
    const video = document.createElement("video");
    Object.assign(video, { src: url, loop: true, muted: true, playsInline: true, autoplay: !paused });
    const caption = figure.querySelector("figcaption");
    const name = caption.firstElementChild;
    if (count > 1) name.textContent += `, seed ${settings.seed}`;
    video.setAttribute("aria-label", name.textContent);
    const picture = figure.querySelector(".picture");
    picture.style.aspectRatio = `${width} / ${height}`;
    picture.replaceChildren(video);
    caption.append(downloadLink(url, settings));
    if (this.#start) caption.append(this.#startButton(file, settings));
    // Side by side they move together.
    const videos = [...this.#element.querySelectorAll("video")];
    video.addEventListener("loadeddata", () => videos.forEach((each) => { each.currentTime = 0; }), { once: true });
    this.#element.querySelector(".notices").replaceChildren(...notices.map((notice) => element("li", notice)));
  }

  /** Says why the places that are still empty stay so. */
  leave(reason) {
    for (const { firstElementChild: picture } of this.#places) {
      if (!picture.querySelector("video")) picture.textContent = reason;
    }
  }

  #startButton(file, settings) {
    const button = element("button", "Start from it");
    Object.assign(button, { type: "button", className: "quiet" });
    button.addEventListener("click", () => this.#start(new File([file], fileName(settings), { type: file.type })));
    return button;
  }

  #show(settings, count, fps, seconds) {
    this.settings = settings;
    this.#places = this.#labels.flatMap((label) => Array.from({ length: count }, () => place(label)));
    const videos = this.#element.querySelector(".videos");
    videos.style.gridTemplateRows = `repeat(${count}, auto)`;
    videos.append(...this.#places);
    this.#element.querySelector(".prompt").textContent = settings.prompt || "(no prompt)";
    const chips = [
      ...source(settings),
      `seed ${settings.seed}`,
      `${settings.steps} steps`,
      `guidance ${settings.guidance}`,
      SCHEDULERS[settings.scheduler],
      `${settings.width}×${settings.height}, ${settings.numFrames} frames`,
      `${fps} fps`,
      count > 1 ? `${count} clips` : `made in ${seconds.toFixed(1)} s`,
    ];
    this.#element.querySelector(".chips").append(...chips.map((chip) => element("span", chip)));
    empty.hidden = true;
    pause.hidden = false;
    // A place that waits has the shape of what is to come.
    for (const { firstElementChild: picture } of this.#places) {
      picture.style.aspectRatio = `${settings.width} / ${settings.height}`;
    }
    list.prepend(this.#element);
    while (list.children.length > MAX_CLIPS) {
      list.lastElementChild.release();
      list.lastElementChild.remove();
    }
  }
}

/** What made a video, in few words. */
export function label({ adapters }) {
  const words = adapters.map(({ name, scale }) => (scale === 1 ? name : `${name} × ${scale}`));
  return words.length === 0 ? "base" : words.join(" + ");
}

/** What a video was made from beside its prompt. */
function source({ image, video, strength }) {
  const files = image ?? video;
  if (!files) return [];
  return [`from ${named(files)}`, ...(strength === undefined ? [] : [`strength ${strength}`])];
}

function place(text) {
  const figure = element("figure", "");
  const picture = element("div", "being made …");
  picture.className = "picture";
  const caption = document.createElement("figcaption");
  caption.append(element("span", text));
  figure.append(picture, caption);
  return figure;
}

function downloadLink(url, settings) {
  const link = element("a", "Download");
  link.href = url;
  link.download = fileName(settings);
  return link;
}

/** Named after the prompt, the seed and the adapters. */
function fileName(settings) {
  const words = [settings.prompt.slice(0, 60), settings.seed, settings.adapters.length > 0 ? label(settings) : ""];
  const plain = words.map((word) => String(word).toLowerCase().replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/^-+|-+$/g, ""));
  return `${plain.filter((word) => word !== "").join("-")}.mp4`;
}

function showPaused() {
  pause.textContent = paused ? "Play clips" : "Pause clips";
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
