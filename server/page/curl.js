// "copy as curl": each thing that this page does can be done in a shell.

import { element } from "./dom.js";

const SHOWN = 2000; // milliseconds

/**
 * A button that copies a command.
 *
 * @param request what stands behind `curl`, with the path instead of the address; or a function that returns it.
 * @param what it does, for those who do not see where it stands.
 * @param label on the button, where several are at one place.
 */
export function curl(request, what, label = "copy as curl") {
  const button = element("button", { class: "curl", type: "button", "aria-label": `${label}: ${what}` }, label);
  button.addEventListener("click", async () => {
    const text = typeof request === "function" ? request() : request;
    const command = `curl ${text.replace(/(^|[ '])\//, `$1${location.origin}/`)}`;
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "copied";
      setTimeout(() => (button.textContent = label), SHOWN);
    } catch {
      button.textContent = command; // where the browser does not let a page copy, as without TLS on another host
    }
  });
  return button;
}

/** A text as one word of a shell. */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
