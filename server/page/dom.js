// Elements, made and found.

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A new element of HTML: its attributes, and what it holds, elements or texts. */
export function element(name, attributes = {}, ...content) {
  return filled(document.createElement(name), attributes, content);
}

/** The same of SVG. */
export function drawn(name, attributes = {}, ...content) {
  return filled(document.createElementNS(SVG, name), attributes, content);
}

/** Set attributes of an element. */
export function set(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) target.setAttribute(name, value);
  return target;
}

/** The text of an element, changed only where it is another one: a screen reader may follow it. */
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** The rows of a table's body: for each, the text of its cells, the first being its head. */
export function writeRows(body, rows, heads = () => ({})) {
  body.replaceChildren(
    ...rows.map(([head, ...cells], at) =>
      element("tr", {}, element("th", { scope: "row", ...heads(at) }, head), ...cells.map((cell) => element("td", {}, cell))),
    ),
  );
}

function filled(made, attributes, content) {
  set(made, attributes);
  made.append(...content);
  return made;
}
