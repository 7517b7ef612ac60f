// What one does on the page, and what the page does of it: with the demo checkpoint, whose pixels play
// no part here.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { startBrowser } from "./browser.js";
import { startServer } from "./server.js";
import { Visit } from "./visit.js";

const PROMPT = "a red circle moving left on a dark background";
/** Enough that their order can be seen. */
const STEPS = 5;
/** More than any test waits for. */
const ENDLESS = 1000;

let server;
let browser;
let visit;
let page;

before(async () => {
  browser = await startBrowser();
  server = await startServer();
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, "the server drains");
});

beforeEach(() => open());

afterEach(() => visit.end());

async function open(options) {
  visit = await Visit.to(server, browser, options);
  page = visit.page;
}

const set = (field, value) => visit.set(field, value);
const state = (name) => visit.state(name);
const textOf = (selector) => visit.textOf(selector);
const steps = () => visit.counted("Step ");
const calls = () => visit.asked.filter((url) => url.endsWith("/GenerateVideo")).length;
const adapter = (name) => page.locator(`#adapters li[data-name=${name}]`);
const makeClip = (settings) => visit.makeClip(settings);
const pictures = () => visit.pictures();
const difference = (one, other) => visit.difference(one, other);

async function download(selector) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
  return { name: file.suggestedFilename(), bytes: await readFile(await file.path()) };
}

test("a clip is made by keyboard alone, and its steps are counted as they finish", async () => {
  await set("num_inference_steps", STEPS);
  await page.focus("#prompt");
  await page.keyboard.type(PROMPT);
  await page.keyboard.press("Control+Enter");
  await state("done");
  await pictures();
  const expected = Array.from({ length: STEPS }, (_, index) => `Step ${index + 1} of ${STEPS}`);
  assert.deepEqual(await steps(), expected);

  const { width, duration, playing } = await page.evaluate(() => {
    const video = document.querySelector(".clip video");
    return { width: video.videoWidth, duration: video.duration, playing: !video.paused && video.muted && video.loop };
  });
  assert.equal(width, Number(await page.inputValue("[name=width]")));
  assert.ok(duration > 0 && playing, `plays for ${duration} s`);
  assert.match(await textOf(".clip .chips"), /seed \d+/, "a seed that was drawn is shown");
  assert.equal(await page.inputValue("[name=seed]"), "", "and the next is drawn again");
});

test("a clip is downloaded under the name of its prompt and seed", async () => {
  await makeClip({ prompt: PROMPT, num_inference_steps: 1, seed: 18446744073709551615n });
  const { name, bytes } = await download(".clip a[download]");
  assert.equal(name, "a-red-circle-moving-left-on-a-dark-background-18446744073709551615.mp4");
  assert.equal(bytes.subarray(4, 8).toString(), "ftyp", "an MP4 file");
});

test("an adapter that is switched on makes another clip, beside that of the base", async () => {
  await makeClip({ prompt: PROMPT, num_inference_steps: STEPS, seed: 7 });
  await adapter("neon").locator("[type=checkbox]").check();
  await adapter("neon").locator("[type=number]").fill("1.5");
  await page.check("#compare");
  await makeClip({});
  assert.deepEqual(await page.locator(".clip:first-child figcaption span").allTextContents(), ["neon × 1.5", "base"]);
  const [adapted, base, before] = [
    ".clip:first-child figure:first-child video",
    ".clip:first-child figure:last-child video",
    ".clip:last-child video",
  ];
  const changed = await difference(adapted, base);
  assert.ok(changed > 1, `the adapter changes the clip: ${changed}`);
  assert.ok(await difference(base, before) < 0.1, "the base is what it was without adapters");
  const { name } = await download(".clip:first-child figure:first-child a");
  assert.match(name, /-7-neon-1\.5\.mp4$/);
});

test("what was made is kept, newest first, and its settings can be used again", async () => {
  // Enter in a field makes a clip too.
  for (const [field, value] of [["prompt", "a blue square"], ["num_inference_steps", 2], ["seed", 11]]) await set(field, value);
  await page.press("[name=seed]", "Enter");
  await state("done");
  await adapter("bounce").locator("[type=checkbox]").check();
  await makeClip({ prompt: "a green circle", num_inference_steps: 1, seed: 12 });
  assert.deepEqual(await page.locator(".clip .prompt").allTextContents(), ["a green circle", "a blue square"]);
  await page.click(".clip:last-child .use");
  const fields = await Promise.all(["prompt", "num_inference_steps", "seed"].map((name) => page.inputValue(`[name=${name}]`)));
  assert.deepEqual(fields, ["a blue square", "2", "11"]);
  assert.equal(await adapter("bounce").locator("[type=checkbox]").isChecked(), false);
});

test("wrong settings are explained at their fields, all at once", async () => {
  await set("num_frames", 10);
  await page.click(".more summary");
  await set("width", 50);
  await page.click(".more summary");
  await page.click("#make");
  await page.waitForSelector("#num_frames-error:not([hidden])");
  assert.match(await textOf("#num_frames-error"), /8n\+1.*found 10.*9 and 17/);
  assert.match(await textOf("#width-error"), /multiple of 16.*50/);
  assert.ok(await page.isVisible("#width-error"), "a folded field is opened");
  const focused = await page.evaluate(() => {
    const { name, ariaInvalid } = document.activeElement;
    return { name, ariaInvalid, described: document.activeElement.getAttribute("aria-describedby") };
  });
  assert.deepEqual(focused, { name: "num_frames", ariaInvalid: "true", described: "num_frames-error" });
  assert.equal(await page.isVisible("#progress"), false, "nothing was begun");

  await set("num_frames", 9);
  assert.equal(await page.isVisible("#num_frames-error"), false, "the reason goes when the field changes");
  await set("width", 64);
  await makeClip({ num_inference_steps: 1 });
});

test("what no request can say is explained before it is sent", async () => {
  await set("seed", "-1");
  await set("num_inference_steps", "2.5");
  await page.click("#make");
  assert.equal(await textOf("#seed-error"), "expected a whole number, found -1");
  assert.equal(await textOf("#num_inference_steps-error"), "expected a whole number, found 2.5");
  assert.equal(calls(), 0);
});

test("cancelling stops the work and the counter", async () => {
  const seen = server.lines();
  await set("prompt", PROMPT);
  await set("num_inference_steps", ENDLESS);
  await page.click("#make");
  await page.waitForFunction(() => globalThis.counted.some((text) => text.startsWith("Step 3 ")));
  await page.keyboard.press("Escape");
  await state("cancelled");
  const counted = (await steps()).length;
  await server.logged(["the caller left"], seen);
  assert.equal((await steps()).length, counted, "no step is counted after it");
  assert.ok(counted < ENDLESS);
  assert.equal(await page.locator(".clip").count(), 0);
  // The stages are free again.
  await makeClip({ num_inference_steps: 1 });
  // By the button as well.
  await set("num_inference_steps", ENDLESS);
  await page.click("#make");
  await page.waitForFunction(() => document.getElementById("counter").textContent.startsWith("Step "));
  await page.click("#cancel");
  await state("cancelled");
});

test("everything can be reached and set with the keyboard", async () => {
  await page.focus("#prompt");
  const press = async (key, reached) => {
    for (let count = 0; count < 60; count += 1) {
      await page.keyboard.press(key);
      if (await page.evaluate(reached)) return;
    }
    assert.fail(`${reached} is not reached by ${key}`);
  };
  await press("Tab", () => document.activeElement.id === "source-file");
  const chooser = await page.evaluate(() => getComputedStyle(document.getElementById("choose")).outlineStyle);
  assert.equal(chooser, "solid", "what stands for the field shows its focus");
  await press("Tab", () => document.activeElement.closest("[data-name=neon]") !== null);
  await page.keyboard.press("Space");
  await press("Tab", () => document.activeElement.type === "range" && document.activeElement.closest("[data-name=neon]") !== null);
  await page.keyboard.press("ArrowLeft");
  assert.equal(await adapter("neon").locator("[type=number]").inputValue(), "0.95");
  const outlined = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outlined, "solid", "what has the focus can be seen");
  for (const id of ["compare", "num_inference_steps", "guidance_scale", "num_frames", "seed", "make"]) {
    await press("Tab", new Function(`return document.activeElement.id === "${id}"`));
  }
  const nameless = await page.evaluate(() => [...document.querySelectorAll("input, textarea, select, button")]
    .filter((field) => !field.labels?.length && !field.ariaLabel && !field.textContent.trim())
    .map((field) => field.outerHTML));
  assert.deepEqual(nameless, []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`the page fits a phone and can be read in ${colorScheme}`, async () => {
    await page.context().close();
    await open({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme });
    await adapter("bounce").locator("[type=checkbox]").check();
    await page.check("#compare");
    await makeClip({ prompt: PROMPT, num_inference_steps: 1 });
    const { wide, contrasts } = await page.evaluate(() => {
      const luminance = (color) => {
        const [r, g, b] = color.match(/[\d.]+/g).map(Number).map((value) => {
          const share = value / 255;
          return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const page = luminance(getComputedStyle(document.body).backgroundColor);
      const contrast = (selector) => {
        const own = luminance(getComputedStyle(document.querySelector(selector)).color);
        return (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05);
      };
      return {
        wide: document.documentElement.scrollWidth - innerWidth,
        contrasts: ["body", "#model", "#seed-error", ".clip a"].map(contrast),
      };
    });
    assert.ok(wide <= 0, `nothing is wider than the screen: ${wide}`);
    // WCAG 2.2, AA.
    assert.ok(contrasts.every((contrast) => contrast >= 4.5), `${contrasts}`);
  });
}

test("a server that is gone is told in words, and the page goes on when it is back", async () => {
  await page.route("**/GenerateVideo", (route) => route.abort("connectionrefused"));
  await page.click("#make");
  await state("failed");
  assert.equal(await textOf("#form-error"), "the server cannot be reached");
  await page.unroute("**/GenerateVideo");
  await makeClip({ num_inference_steps: 1 });
  assert.equal(await page.isVisible("#form-error"), false);
  // The browser's own word for it.
  visit.complaints = visit.complaints.filter((text) => !text.includes("ERR_CONNECTION_REFUSED"));
});

test("messages are read and written as protocol buffers say, and broken ones are refused", async () => {
  const results = await page.evaluate(async () => {
    const { Writer, decode, double, float, repeated, string, uint, uint64 } = await import("/wire.js");
    const fields = {
      1: ["text", string], 2: ["count", uint], 3: ["seed", uint64], 4: ["ratio", double],
      5: ["scale", float], 6: ["names", repeated(string)], 7: ["absent", uint],
    };
    const bytes = new Writer().string(1, "äöü").uint(2, 300).uint(3, 2n ** 64n - 1n).double(4, -0.1).float(5, 0.5)
      .string(6, "a").string(6, "").uint(9, 1).finish();
    const { seed, ...rest } = decode(bytes, fields);
    const refused = (...broken) => {
      try {
        return decode(Uint8Array.from(broken), fields);
      } catch (error) {
        return error.message;
      }
    };
    return {
      rest,
      seed: String(seed),
      bytes: [...new Writer().uint(2, 300).finish()],
      cut: refused(0x0a, 5, 65),
      endless: refused(...Array(11).fill(0xff)),
      group: refused(0x0b),
    };
  });
  assert.deepEqual(results, {
    rest: { text: "äöü", count: 300, ratio: -0.1, scale: 0.5, names: ["a", ""], absent: 0 },
    seed: "18446744073709551615",
    bytes: [0x10, 0xac, 0x02],
    cut: "expected 5 more bytes of a message, found 1",
    endless: "expected a number of at most 10 bytes, found a longer one",
    group: "expected a field of wire type 0, 1, 2 or 5, found 3",
  });
});

test("a prompt is written out where the server has somebody for that, and one is for both sides", async () => {
  assert.equal(await page.isVisible("#enhance"), false, "this one has nobody");
  const requests = [];
  const endpoint = createServer((request, response) => {
    requests.push(request.url);
    response.end(JSON.stringify({ choices: [{ message: { content: "a large red circle" } }] }));
  });
  await new Promise((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
  const usual = server;
  server = await startServer("--prompt-enhancer", `http://127.0.0.1:${endpoint.address().port}`);
  try {
    await page.context().close();
    await open();
    await page.check("#enhance_prompt");
    await adapter("neon").locator("[type=checkbox]").check();
    await page.check("#compare");
    await makeClip({ prompt: PROMPT, num_inference_steps: 1, num_frames: 9 });
    assert.match(await textOf(".clip .notices"), /Written out: a large red circle/);
    assert.deepEqual(requests, ["/v1/chat/completions"]);
    await page.context().close();
  } finally {
    assert.equal(await server.stop(), 0);
    server = usual;
    endpoint.close();
  }
  await open();
});

// The last one: this server's adapters are not what they were.
test("an adapter that is gone is explained in its row, until the list is read again", async () => {
  await adapter("bounce").locator("[type=checkbox]").check();
  await adapter("neon").locator("[type=checkbox]").check();
  await page.evaluate(async () => {
    const [{ unary }, { Writer }] = await Promise.all([import("/grpcweb.js"), import("/wire.js")]);
    const request = new Writer().string(1, "neon").finish();
    await unary("cogwheel.adapter.v1.AdapterService/DeleteAdapter", request);
  });
  await page.click("#make");
  const error = adapter("neon").locator(".error");
  await error.waitFor();
  assert.match(await error.textContent(), /expected a registered adapter.*found 'neon'/);
  await page.click("#reload");
  await adapter("neon").waitFor({ state: "detached" });
  assert.ok(await adapter("bounce").locator("[type=checkbox]").isChecked(), "what was chosen stays so");
  await makeClip({ num_inference_steps: 1 });
  assert.deepEqual(await page.locator(".clip figcaption span").allTextContents(), ["bounce"]);
});
