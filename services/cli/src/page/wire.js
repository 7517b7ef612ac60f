// Protocol buffers' wire format, as much of it as the page's messages need. A kind of value says how
// it is read, and what it is where the message does not have it.

const text = new TextDecoder();

export const string = { wire: 2, absent: "", read: (bytes) => text.decode(bytes) };
export const bytes = { wire: 2, read: (bytes) => bytes };
export const uint = { wire: 0, absent: 0, read: (value) => Number(value) };
// Seeds pass what a Number holds exactly.
export const uint64 = { wire: 0, absent: 0n, read: (value) => value };
export const bool = { wire: 0, absent: false, read: (value) => value !== 0n };
export const double = { wire: 1, absent: 0, read: (view) => view.getFloat64(0, true) };
export const float = { wire: 5, absent: 0, read: (view) => view.getFloat32(0, true) };
export const message = (fields) => ({ wire: 2, read: (bytes) => decode(bytes, fields) });
export const repeated = (kind) => ({ ...kind, repeated: true });

/** Reads a message: `fields` has a name and a kind for each number. Unknown fields are left out. */
export function decode(bytes, fields) {
  const result = {};
  for (const [name, kind] of Object.values(fields)) {
    result[name] = kind.repeated ? [] : kind.absent;
  }
  const reader = new Reader(bytes);
  while (!reader.ended) {
    const tag = Number(reader.varint());
    const value = reader.value(tag & 7);
    const [name, kind] = fields[tag >>> 3] ?? [];
    if (kind?.wire !== (tag & 7)) continue;
    if (kind.repeated) result[name].push(kind.read(value));
    else result[name] = kind.read(value);
  }
  return result;
}

/** Writes a message, field by field. What is undefined is left out. */
export class Writer {
  #parts = [];

  uint(field, value) {
    if (value === undefined) return this;
    this.#tag(field, 0);
    return this.#varint(BigInt(value));
  }

  double(field, value) {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value, true);
    return this.#fixed(field, 1, value, view);
  }

  float(field, value) {
    const view = new DataView(new ArrayBuffer(4));
    view.setFloat32(0, value, true);
    return this.#fixed(field, 5, value, view);
  }

  string(field, value) {
    return value === undefined ? this : this.bytes(field, new TextEncoder().encode(value));
  }

  bytes(field, value) {
    this.#tag(field, 2);
    this.#varint(BigInt(value.length));
    return this.#push(value);
  }

  finish() {
    const joined = new Uint8Array(this.#parts.reduce((sum, { length }) => sum + length, 0));
    let end = 0;
    for (const part of this.#parts) {
      joined.set(part, end);
      end += part.length;
    }
    return joined;
  }

  #fixed(field, wire, value, view) {
    if (value === undefined) return this;
    this.#tag(field, wire);
    return this.#push(new Uint8Array(view.buffer));
  }

  #tag(field, wire) {
    this.#varint(BigInt((field << 3) | wire));
  }

  #varint(value) {
    const bytes = [];
    let rest = BigInt.asUintN(64, value);
    while (rest > 127n) {
      bytes.push(Number(rest & 127n) | 128);
      rest >>= 7n;
    }
    return this.#push([...bytes, Number(rest)]);
  }

  #push(bytes) {
    this.#parts.push(bytes);
    return this;
  }
}

class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get ended() {
    return this.#at === this.#bytes.length;
  }

  varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#take(1)[0];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
    throw new Error("expected a number of at most 10 bytes, found a longer one");
  }

  value(wire) {
    switch (wire) {
      case 0: return this.varint();
      case 1: return this.#view(8);
      case 2: return this.#take(Number(this.varint()));
      case 5: return this.#view(4);
      default: throw new Error(`expected a field of wire type 0, 1, 2 or 5, found ${wire}`);
    }
  }

  #view(length) {
    const bytes = this.#take(length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  #take(length) {
    const left = this.#bytes.length - this.#at;
    if (length > left) throw new Error(`expected ${length} more bytes of a message, found ${left}`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}
