// `cogwheel serve` with a checkpoint of the repository, on a free port.

import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createInterface } from "node:readline";

export const ROOT = new URL("../../", import.meta.url).pathname;

/** The server that was built last, or the one that is named. */
function binary() {
  if (process.env.COGWHEEL) return process.env.COGWHEEL;
  const built = ["debug", "release"].map((profile) => `${ROOT}target/${profile}/cogwheel`).filter(existsSync);
  if (built.length === 0) throw new Error("expected target/debug/cogwheel or target/release/cogwheel, found neither: make test-browser builds it");
  return built.reduce((newest, path) => (statSync(path).mtimeMs > statSync(newest).mtimeMs ? path : newest));
}

/** A server of the demo checkpoint and its adapters. */
export const startServer = (...options) => serve("demo/model", "--adapter-dir", `${ROOT}demo/adapters`, ...options);

/** Starts a server of a checkpoint and waits until it can make clips. */
export async function serve(model, ...options) {
  const child = spawn(binary(), [
    "serve", "--listen", "127.0.0.1:0", "--log-format", "json",
    "--model", `${ROOT}${model}`, ...options,
  ], { stdio: ["ignore", "ignore", "pipe"] });
  const lines = [];
  const waiting = new Set();
  const tell = () => waiting.forEach((look) => look());
  createInterface({ input: child.stderr }).on("line", (line) => {
    lines.push(line);
    tell();
  });
  let ended = false;
  const end = new Promise((resolve) => child.on("close", (code) => {
    ended = true;
    tell();
    resolve(code);
  }));

  /** A log line that contains all of these words and comes after the first `from` ones. */
  const logged = (words, from = 0) => new Promise((resolve, reject) => {
    const look = () => {
      const line = lines.slice(from).find((line) => words.every((word) => line.includes(word)));
      if (line === undefined && !ended) return;
      waiting.delete(look);
      if (line === undefined) reject(new Error(`expected a log line with ${words}, found the end of:\n${lines.join("\n")}`));
      else resolve(line);
    };
    waiting.add(look);
    look();
  });

  await logged(['"ready"', '"orchestrator"']);
  return {
    url: JSON.parse(await logged(["in a browser"])).url,
    logged,
    lines: () => lines.length,
    async stop() {
      child.kill("SIGTERM");
      return end;
    },
  };
}
