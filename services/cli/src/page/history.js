// What was made: cards, newest first, in this page's memory.

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

/** A new card, with a place for each label; it is shown with its first video. */
export class Card {
  #element = document.getElementById("clip-template").content.firstElementChild.cloneNode(true);
  #places = [];
  #urls = [];

  constructor(labels, use) {
    this.#places = labels.map((label) => place(label));
    this.#element.querySelector(".videos").append(...this.#places);
    this.#element.querySelector(".use").addEventListener("click", () => use(this.settings));
    this.#element.release = () => this.#urls.forEach((url) => URL.revokeObjectURL(url));
  }

  /** Puts a video into its place. `shown` are the settings that belong to the card. */
  add(index, { file, seconds, notices, fps, settings }, shown) {
    const { width, height } = settings;
    const url = URL.createObjectURL(file);
    this.#urls.push(url);
    const video = document.createElement("video");
    Object.assign(video, { src: url, loop: true, muted: true, playsInline: true, autoplay: !paused });
    video.setAttribute("aria-label", this.#places[index].dataset.label);
    const picture = this.#places[index].querySelector(".picture");
    picture.style.aspectRatio = `${width} / ${height}`;
    picture.replaceChildren(video);
    this.#places[index].querySelector("figcaption").append(downloadLink(url, settings));
    if (index === 0) this.#show(shown, fps, seconds);
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

  #show(settings, fps, seconds) {
    this.settings = settings;
    this.#element.querySelector(".prompt").textContent = settings.prompt || "(no prompt)";
    const chips = [
      `seed ${settings.seed}`,
      `${settings.steps} steps`,
      `guidance ${settings.guidance}`,
      SCHEDULERS[settings.scheduler],
      `${settings.width}×${settings.height}, ${settings.numFrames} frames`,
      `${fps} fps`,
      `made in ${seconds.toFixed(1)} s`,
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

function place(text) {
  const figure = element("figure", "");
  const picture = element("div", "being made …");
  picture.className = "picture";
  const caption = document.createElement("figcaption");
  caption.append(element("span", text));
  figure.dataset.label = text;
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
