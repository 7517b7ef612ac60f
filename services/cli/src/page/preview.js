// Chosen files as small pictures.

/** More are only counted. */
const MAX_PICTURES = 8;

const still = matchMedia("(prefers-reduced-motion: reduce)");
let urls = [];

/** Shows files at a place, instead of those that were there. */
export function show(place, files) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  place.hidden = files.length === 0;
  place.classList.toggle("several", files.length > 1);
  place.replaceChildren(...files.slice(0, MAX_PICTURES).map(picture));
  if (files.length > MAX_PICTURES) place.append(words(`and ${files.length - MAX_PICTURES} more`));
}

function picture(file) {
  const url = URL.createObjectURL(file);
  urls.push(url);
  const isFilm = file.type.startsWith("video/");
  const made = document.createElement(isFilm ? "video" : "img");
  if (isFilm) {
    Object.assign(made, { loop: true, muted: true, playsInline: true, autoplay: !still.matches, controls: true });
    made.setAttribute("aria-label", file.name);
  } else {
    made.alt = file.name;
  }
  // Whether it can be used is for the server to say.
  made.addEventListener("error", () => made.replaceWith(words("This browser cannot show it.")));
  made.src = url;
  return made;
}

function words(text) {
  const made = document.createElement("p");
  made.className = "hint";
  made.textContent = text;
  return made;
}
