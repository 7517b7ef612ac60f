// Videos made from images, from videos and under control videos: the files on their way from the disk, or
// from another program, into a request.

import assert from "node:assert/strict";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { startBrowser } from "./browser.js";
import { ROOT, serve, startServer } from "./server.js";
import { Visit } from "./visit.js";

const INPUTS = `${ROOT}tests/data/inputs`;
const RED = "a red circle moving left on a dark background";
const BLUE = "a blue square moving right on a light background";
const FRAMES = 9;

let browser;

before(async () => {
  browser = await startBrowser();
});

after(() => browser?.close());

/** A test of the page of a server of its own. */
function testWith(start, name, run) {
  test(name, async () => {
    const server = await start();
    try {
      const visit = await Visit.to(server, browser);
      await run(visit, visit.page);
      await visit.end();
    } finally {
      assert.equal(await server.stop(), 0, "the server drains");
    }
  });
}

const demo = startServer;
const image = () => serve("tests/data/checkpoints/image");
const control = () => serve("tests/data/checkpoints/control");
const chips = (visit) => visit.page.locator(".clip:first-child .chips span").allTextContents();
const calls = (visit) => visit.asked.filter((url) => url.endsWith("/GenerateVideo")).length;
const shown = ({ page }) => page.waitForFunction(() => {
  const [picture] = document.getElementById("preview").children;
  return picture?.naturalWidth > 0 || picture?.readyState >= 2;
});

/** Drops or pastes a file as other programs bring it. */
async function bring({ page }, event, path, type) {
  const base64 = (await readFile(path)).toString("base64");
  await page.evaluate(([event, base64, name, type]) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    const init = { bubbles: true, cancelable: true };
    const made = event === "paste"
      ? new ClipboardEvent(event, { ...init, clipboardData: transfer })
      : new DragEvent(event, { ...init, dataTransfer: transfer });
    document.getElementById("prompt").dispatchEvent(made);
    if (!made.defaultPrevented) throw new Error("expected the page to take the file, found it left to the browser");
  }, [event, base64, path.split("/").at(-1), type]);
}

testWith(demo, "a clip is the start of the next one, which departs from it as far as is asked", async (visit, page) => {
  assert.equal(await page.isVisible("#strength"), false, "without a video there is nothing to depart from");
  await visit.makeClip({ prompt: RED, num_inference_steps: 10, num_frames: FRAMES, seed: 1 });
  assert.equal(await page.evaluate(() => document.querySelector("[data-stage=vae-encoder]").hidden), true);
  assert.deepEqual(await visit.counted("Encoded"), []);
  await page.click(".clip .videos button");
  await shown(visit);
  assert.equal(await page.inputValue("#strength"), "0.8");
  const { muted, width } = await page.evaluate(() => {
    const video = document.querySelector("#preview video");
    return { muted: video.muted, width: video.videoWidth };
  });
  assert.ok(muted && width > 0);

  await page.fill("[data-of=strength]", "0.2");
  await visit.makeClip({ prompt: BLUE, seed: 2 });
  assert.deepEqual((await visit.counted("Encoded")).at(-1), `Encoded frame ${FRAMES} of ${FRAMES}`);
  assert.equal(await page.evaluate(() => document.querySelector("[data-stage=vae-encoder]").hidden), false);
  const [from, strength] = await chips(visit);
  assert.match(from, /^from a-red-circle-.*-1\.mp4$/);
  assert.equal(strength, "strength 0.2");
  await visit.makeClip({ strength: 1 });
  const [near, far] = [
    await visit.difference(".clip:nth-child(3) video", ".clip:nth-child(2) video"),
    await visit.difference(".clip:nth-child(3) video", ".clip:nth-child(1) video"),
  ];
  assert.ok(near * 2 < far, `more is left of it at 0.2 than at 1: ${near}, ${far}`);

  await page.click("#remove");
  assert.equal(await page.evaluate(() => document.activeElement.id), "source-file");
  assert.equal(await page.isVisible("#strength"), false);
  assert.equal(await page.isVisible("#preview"), false);
  await visit.makeClip({ num_inference_steps: 1 });
  assert.match((await chips(visit))[0], /^seed/, "it is made from the prompt alone");
  assert.equal(await page.evaluate(() => document.querySelector("[data-stage=vae-encoder]").hidden), true);
  // What was made of it is made of it again.
  await page.click(".clip:nth-child(3) .use");
  await shown(visit);
  assert.equal(await page.inputValue("#strength"), "0.2");
});

testWith(demo, "pictures that are chosen together are a video, by the numbers in their names", async (visit, page) => {
  const picture = await readFile(`${INPUTS}/pictures/rgb.png`);
  const named = (name) => ({ name, mimeType: "image/png", buffer: picture });
  await page.setInputFiles("#source-file", [10, 9, 8, 7, 6, 5, 4, 3, 2, 1].map((number) => named(`${number}.png`)));
  await shown(visit);
  const alts = await page.locator("#preview img").evaluateAll((images) => images.map(({ alt }) => alt));
  assert.deepEqual(alts, [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `${number}.png`));
  assert.equal(await visit.textOf("#preview p"), "and 2 more");
  await visit.makeClip({ num_inference_steps: 2, num_frames: FRAMES });
  assert.equal((await chips(visit))[0], "from 10 files");
  assert.match(await visit.textOf(".clip .notices"), /of the video's 10 frames the first 9 are taken/);
});

testWith(demo, "a file that is none or too large is refused at its field, here or by the server", async (visit, page) => {
  const error = () => visit.textOf("#video-error");
  const choose = (name, mimeType, text) => page.setInputFiles("#source-file", { name, mimeType, buffer: Buffer.from(text) });
  await choose("notes.txt", "text/plain", "a red circle");
  assert.equal(await error(), "expected one MP4 or GIF file, or PNG, JPEG or WebP pictures, found notes.txt");
  assert.equal(await page.isVisible("#preview"), false);
  const folder = await mkdtemp(`${tmpdir()}/cogwheel-`);
  try {
    const file = await open(`${folder}/large.mp4`, "w");
    await file.truncate(63 * 2 ** 20 + 1);
    await page.setInputFiles("#source-file", `${folder}/large.mp4`);
    assert.equal(await error(), "expected at most 63 MiB, found 63.1 MiB");
    assert.deepEqual([await page.inputValue("#source-file"), calls(visit)], ["", 0]);
    // One byte less gets there.
    await file.truncate(63 * 2 ** 20);
    await file.close();
    await page.setInputFiles("#source-file", `${folder}/large.mp4`);
    assert.equal(await page.isVisible("#video-error"), false);
    await page.click("#make");
    await page.waitForSelector("#video-error:not([hidden])");
    assert.doesNotMatch(await error(), /MiB/);
    await rm(`${folder}/large.mp4`);
    await page.click("#make");
    await visit.state("failed");
    assert.equal(await visit.textOf("#form-error"), "large.mp4 can no longer be read; choose it again");
  } finally {
    await rm(folder, { recursive: true });
  }

  await choose("broken.gif", "image/gif", "no picture, whatever it is called");
  assert.equal(await page.isVisible("#video-error"), false, "the reason goes with another file");
  await page.waitForFunction(() => document.getElementById("preview").textContent === "This browser cannot show it.");
  await visit.set("strength", 0);
  await page.locator("#num_frames").scrollIntoViewIfNeeded();
  await page.locator("#seed").focus();
  await page.click("#make");
  await page.waitForSelector("#video-error:not([hidden])");
  const inSight = await page.evaluate(() => {
    const [error, form] = ["video-error", "form"].map((id) => document.getElementById(id).getBoundingClientRect());
    return error.top > form.top && error.bottom < form.bottom;
  });
  assert.ok(inSight, "the form is scrolled to the reason");
  const focused = await page.evaluate(() => {
    const { name, ariaInvalid } = document.activeElement;
    return { name, ariaInvalid, described: document.activeElement.getAttribute("aria-describedby") };
  });
  assert.deepEqual(focused, { name: "video", ariaInvalid: "true", described: "video-error" });

  await page.setInputFiles("#source-file", `${INPUTS}/videos/many.gif`);
  await page.click("#make");
  await page.waitForSelector("#strength-error:not([hidden])");
  assert.match(await visit.textOf("#strength-error"), /above 0, at most 1.*found 0/);
});

testWith(image, "a model of images wants one, which is chosen, dropped or pasted", async (visit, page) => {
  await page.click("#make");
  assert.equal(await visit.textOf("#image-error"), "expected an image to start from, found none");
  assert.equal(calls(visit), 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), "source-file");

  await bring(visit, "drop", `${INPUTS}/pictures/rgb.jpg`, "image/jpeg");
  assert.equal(await page.isVisible("#image-error"), false);
  await shown(visit);
  assert.match(await visit.textOf("#source-name"), /^rgb\.jpg, 1 KiB$/);
  assert.equal(await page.isVisible("#strength"), false, "nothing departs from an image");
  await visit.makeClip({ prompt: RED, num_inference_steps: 2 });
  assert.deepEqual(await visit.counted("Encoded"), ["Encoded frame 1 of 1"]);
  assert.deepEqual(await page.locator("#stages li").allTextContents(), ["Prompt", "Image", "Steps", "Frames"]);
  assert.equal((await chips(visit))[0], "from rgb.jpg");
  assert.equal(await page.locator(".clip .videos button").count(), 0, "a clip is no image to start from");

  await bring(visit, "paste", `${INPUTS}/pictures/lossy.webp`, "image/webp");
  await visit.makeClip({});
  assert.equal((await chips(visit))[0], "from lossy.webp");
  await page.setInputFiles("#source-file", `${INPUTS}/videos/baseline.mp4`);
  assert.equal(await visit.textOf("#image-error"), "expected a PNG, JPEG or WebP picture, found baseline.mp4");
  assert.match(await visit.textOf("#source-name"), /^lossy\.webp/, "what was there before stays");
});

testWith(control, "a model of control videos wants one, and knows no strength", async (visit, page) => {
  await page.click("#make");
  assert.equal(await visit.textOf("#video-error"), "expected a video that controls the new one, found none");
  assert.equal(calls(visit), 0);
  await page.setInputFiles("#source-file", `${INPUTS}/videos/long.mp4`);
  await shown(visit);
  assert.equal(await page.isVisible("#strength"), false);
  await visit.makeClip({ prompt: RED, num_inference_steps: 2, num_frames: FRAMES });
  assert.equal((await visit.counted("Encoded")).at(-1), `Encoded frame ${FRAMES} of ${FRAMES}`);
  assert.equal((await chips(visit))[0], "from long.mp4");
});

testWith(demo, "several clips of one request stand one below the other, each with its seed", async (visit, page) => {
  await page.click(".more summary");
  assert.equal(await page.getAttribute("#fps", "placeholder"), "8");
  await visit.makeClip({ prompt: RED, num_inference_steps: 1, num_frames: FRAMES, seed: 7, num_videos: 2, fps: 4 });
  assert.deepEqual(await page.locator("figcaption span").allTextContents(), ["base, seed 7", "base, seed 8"]);
  const boxes = await page.locator("figure").evaluateAll((all) => all.map((each) => each.getBoundingClientRect().toJSON()));
  assert.ok(boxes[1].top >= boxes[0].bottom && boxes[1].left === boxes[0].left, JSON.stringify(boxes));
  assert.ok((await chips(visit)).includes("4 fps"));
  assert.ok(await visit.difference("figure:first-child video", "figure:last-child video") > 1, "they are different");
  await visit.set("fps", 100);
  await page.click("#make");
  await page.waitForSelector("#fps-error:not([hidden])");
  await page.click(".clip .use");
  assert.deepEqual([await page.inputValue("#num_videos"), await page.inputValue("#fps")], ["2", "4"]);
});
