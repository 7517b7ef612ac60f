// gRPC-Web over fetch: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

import { readViolations } from "./messages.js";
import { askForToken, authorization } from "./token.js";

const TYPE = "application/grpc-web+proto";
const INVALID_ARGUMENT = 3;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;
const COMPRESSED = 1;
const TRAILERS = 0x80;

/** A call that did not get its answer. */
export class CallError extends Error {
  /** `violations` are the fields of the request that the server refused, each with its reason. */
  constructor(code, message, violations = []) {
    super(message);
    this.code = code;
    this.violations = violations;
  }

  /** Whether each refused field has a reason of its own. */
  get isOfFields() {
    return this.code === INVALID_ARGUMENT && this.violations.length > 0;
  }
}

/** The only message of an answer. */
export async function unary(method, request) {
  for await (const message of stream(method, request)) return message;
  throw new CallError(INTERNAL, "expected an answer, found an empty one");
}

/** The messages of an answer, as they arrive. Aborting `signal` stops the work on the server. */
export async function* stream(method, request, signal) {
  for (;;) {
    try {
      return yield* attempt(method, request, signal);
    } catch (error) {
      // Nothing has come of it yet.
      const isRefused = error instanceof CallError && error.code === UNAUTHENTICATED;
      if (!isRefused || !await askForToken(error.message)) throw error;
    }
  }
}

async function* attempt(method, request, signal) {
  const response = await reach(() => fetch(`/${method}`, {
    method: "POST",
    headers: { "content-type": TYPE, accept: TYPE, "x-grpc-web": "1", ...authorization() },
    body: frame(request),
    signal,
  }), signal);
  if (!response.ok) throw new CallError(UNAVAILABLE, `the server answered ${response.status}`);
  // An answer that has failed before its first message may say so in the headers.
  if (response.headers.has("grpc-status")) check((name) => response.headers.get(name));

  const reader = response.body.getReader();
  const frames = new Frames();
  for (;;) {
    const { done, value } = await reach(() => reader.read(), signal);
    if (done) throw new CallError(UNAVAILABLE, "the connection ended before the answer did");
    frames.push(value);
    for (let next = frames.take(); next; next = frames.take()) {
      if (next.flags & COMPRESSED) throw new CallError(INTERNAL, "expected plain bytes, found compressed ones");
      if (!(next.flags & TRAILERS)) {
        yield next.bytes;
        continue;
      }
      const trailers = readTrailers(next.bytes);
      check((name) => trailers.get(name));
      return;
    }
  }
}

/** What the network refuses, in words. An abort stays one. */
async function reach(work, signal) {
  try {
    return await work();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new CallError(UNAVAILABLE, "the server cannot be reached");
  }
}

/** Throws what a status says, unless it says that all is well. */
function check(header) {
  const code = Number(header("grpc-status") ?? INTERNAL);
  if (code === 0) return;
  const details = header("grpc-status-details-bin");
  const violations = details ? readViolations(fromBase64(details)) : [];
  throw new CallError(code, unescape(header("grpc-message")) || `the call failed with code ${code}`, violations);
}

function unescape(message) {
  try {
    return decodeURIComponent(message ?? "");
  } catch {
    return message;
  }
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function readTrailers(bytes) {
  const trailers = new Map();
  for (const line of new TextDecoder().decode(bytes).split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return trailers;
}

/** A message with its flags and its length before it. */
function frame(message) {
  const framed = new Uint8Array(5 + message.length);
  new DataView(framed.buffer).setUint32(1, message.length);
  framed.set(message, 5);
  return framed;
}

/** Frames out of pieces that end anywhere. */
class Frames {
  #pending = new Uint8Array();

  push(piece) {
    const joined = new Uint8Array(this.#pending.length + piece.length);
    joined.set(this.#pending);
    joined.set(piece, this.#pending.length);
    this.#pending = joined;
  }

  take() {
    if (this.#pending.length < 5) return undefined;
    const view = new DataView(this.#pending.buffer, this.#pending.byteOffset);
    const end = 5 + view.getUint32(1);
    if (this.#pending.length < end) return undefined;
    const next = { flags: view.getUint8(0), bytes: this.#pending.subarray(5, end) };
    this.#pending = this.#pending.subarray(end);
    return next;
  }
}
