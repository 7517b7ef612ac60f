// The token that a server may want: asked for when it refuses a call, kept until the tab is closed.

const KEY = "cogwheel-token";
/** What a header may hold. */
const TOKEN = /^[\x21-\x7e]+$/;
/** Several calls may be refused at once; one question does for all. */
let asking;

/** The headers of a call. */
export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** Asks for a token, saying why; whether there is one. */
export function askForToken(reason) {
  asking ??= ask(reason).finally(() => { asking = undefined; });
  return asking;
}

async function ask(reason) {
  const dialog = document.getElementById("token-dialog");
  const input = dialog.querySelector("input");
  dialog.querySelector("#token-reason").textContent = reason;
  dialog.returnValue = "";
  input.value = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const token = input.value.trim();
  input.value = "";
  if (dialog.returnValue !== "send" || !TOKEN.test(token)) return false;
  sessionStorage.setItem(KEY, token);
  return true;
}
