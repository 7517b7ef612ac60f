// The page of a server that wants tokens: it asks for one, and again for one that is wrong.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { startBrowser } from "./browser.js";
import { startServer } from "./server.js";

const TOKEN = "a-token-of-this-test";

let folder;
let server;
let browser;

before(async () => {
  folder = await mkdtemp(`${tmpdir()}/cogwheel-`);
  const hash = createHash("sha256").update(TOKEN).digest("hex");
  await writeFile(`${folder}/cogwheel.toml`, `[[tokens]]\nname = "me"\nsha256 = "${hash}"\nroles = ["generate"]\n`);
  browser = await startBrowser();
  server = await startServer("--config", `${folder}/cogwheel.toml`);
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, "the server drains");
  await rm(folder, { recursive: true });
});

test("the page asks for a token until it is right, and keeps it for the tab", async () => {
  const page = await browser.newPage();
  await page.goto(server.url);
  const input = page.locator("#token");
  await input.fill("a-wrong-one");
  await page.keyboard.press("Enter");
  await page.locator("#token-reason", { hasText: "not known" }).waitFor();
  await input.fill(TOKEN);
  await page.keyboard.press("Enter");
  await page.locator("#model", { hasText: ":" }).waitFor();
  await page.locator("#token-dialog").waitFor({ state: "hidden" });
  await page.reload();
  await page.locator("#model", { hasText: ":" }).waitFor();
  assert.equal(await page.locator("#token-dialog").isVisible(), false);
  await page.close();
});
