// The files that a request may bring.

/** What a server lets a request hold unless it is told otherwise, with room for the prompts beside it. */
const MAX_BYTES = (64 - 1) * 2 ** 20;
const PICTURES = ["image/png", "image/jpeg", "image/webp"];
const VIDEOS = ["video/mp4", "image/gif"];

const inOrder = new Intl.Collator("en", { numeric: true });

/** For each field of the request the types that a file dialog offers. */
export const ACCEPTED = { image: PICTURES.join(), video: [...VIDEOS, ...PICTURES].join() };

export const isPicture = ({ type }) => PICTURES.includes(type);

/** The files for a field in their order, pictures by the numbers in their names; throws what is wrong with them. */
export function checked(field, files) {
  const isOneVideo = files.length === 1 && VIDEOS.includes(files[0].type);
  if (field === "image" && !(files.length === 1 && isPicture(files[0]))) {
    throw new Error(`expected a PNG, JPEG or WebP picture, found ${named(files)}`);
  }
  if (field === "video" && !isOneVideo && !files.every(isPicture)) {
    throw new Error(`expected one MP4 or GIF file, or PNG, JPEG or WebP pictures, found ${named(files)}`);
  }
  const size = sizeOf(files);
  if (size > MAX_BYTES) throw new Error(`expected at most ${inWords(MAX_BYTES)}, found ${inWords(size)}`);
  return files.toSorted((a, b) => inOrder.compare(a.name, b.name));
}

/** What was chosen, in few words. */
export const named = (files) => (files.length === 1 ? files[0].name : `${files.length} files`);

/** How much it is. */
export const measured = (files) => inWords(sizeOf(files));

/** A file's bytes. */
export async function bytesOf(file) {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    // It was moved or written since.
    throw new Error(`${file.name} can no longer be read; choose it again`);
  }
}

const sizeOf = (files) => files.reduce((sum, { size }) => sum + size, 0);

function inWords(bytes) {
  if (bytes < 2 ** 20) return `${Math.ceil(bytes / 2 ** 10)} KiB`;
  // Upwards, so that what is too much never reads as what is allowed.
  return `${Math.ceil(bytes / 2 ** 20 * 10) / 10} MiB`;
}
