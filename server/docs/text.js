// Texts of the document.

import { element } from "./dom.js";

/** A text, with what stands between backticks as code. */
export function marked(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}
