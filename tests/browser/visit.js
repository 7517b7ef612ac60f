// Somebody who looks at the page of a server, and does what one does there.

import assert from "node:assert/strict";

/** A page in a browser profile of its own. */
export class Visit {
  /** What the browser complained of, and whom it asked. */
  complaints = [];
  asked = [];

  /** Opens the page of a server. */
  static async to(server, browser, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const visit = new Visit();
    visit.server = server;
    visit.page = await context.newPage();
    await visit.#open();
    return visit;
  }

  async #open() {
    const { page, server } = this;
    page.setDefaultTimeout(120_000);
    page.on("console", (line) => line.type() === "error" && this.complaints.push(line.text()));
    page.on("pageerror", (error) => this.complaints.push(error.message));
    page.on("request", (request) => this.asked.push(request.url()));
    await page.goto(server.url);
    await page.waitForSelector("body[data-ready]");
    // Every text that the counter ever shows, and how many clips were finished.
    await page.evaluate(() => {
      globalThis.counted = [];
      globalThis.finished = 0;
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes) globalThis.counted.push(...[...addedNodes].map((node) => node.data));
      }).observe(document.getElementById("counter"), { childList: true });
      const panel = document.getElementById("progress");
      new MutationObserver(() => { globalThis.finished += panel.dataset.state === "done"; })
        .observe(panel, { attributeFilter: ["data-state"] });
    });
  }

  /** Leaves, and holds that all was in order. */
  async end() {
    await this.page.context().close();
    assert.deepEqual(this.complaints, [], "the browser has nothing to complain of");
    const strangers = this.asked.filter((url) => !url.startsWith(this.server.url) && !url.startsWith("blob:"));
    assert.deepEqual(strangers, [], "nobody else is asked for anything");
  }

  /** Sets a field as one who types does. */
  set(field, value) {
    return this.page.fill(`[name=${field}]`, String(value));
  }

  state(name) {
    return this.page.waitForSelector(`#progress[data-state=${name}]`, { state: "attached" });
  }

  textOf(selector) {
    return this.page.locator(selector).textContent();
  }

  /** What the counter has shown so far that begins like this. */
  async counted(beginning) {
    return (await this.page.evaluate(() => globalThis.counted)).filter((text) => text.startsWith(beginning));
  }

  /** Makes a clip of these settings and waits until the newest card shows all its pictures. */
  async makeClip(settings) {
    for (const [field, value] of Object.entries(settings)) await this.set(field, value);
    const before = await this.page.evaluate(() => globalThis.finished);
    await this.page.click("#make");
    await this.page.waitForFunction((before) => globalThis.finished > before, before);
    await this.pictures();
  }

  pictures() {
    return this.page.waitForFunction(() => {
      const videos = [...document.querySelectorAll(".clip:first-child video")];
      return videos.length > 0 && videos.every((video) => video.readyState >= 2);
    });
  }

  /** The mean difference of two videos, 0 to 255, in their first frame. */
  difference(one, other) {
    return this.page.evaluate(async ([one, other]) => {
      const pixels = async (selector) => {
        const video = document.querySelector(selector);
        video.pause();
        if (video.currentTime !== 0) {
          const there = new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
          video.currentTime = 0;
          await there;
        }
        const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
        const context = canvas.getContext("2d");
        context.drawImage(video, 0, 0);
        return context.getImageData(0, 0, canvas.width, canvas.height).data;
      };
      const [a, b] = [await pixels(one), await pixels(other)];
      return a.reduce((sum, value, index) => sum + Math.abs(value - b[index]), 0) / a.length;
    }, [one, other]);
  }
}
