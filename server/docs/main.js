// The page of the document: its operations by groups, each to be read and tried.

import { byId, element, write } from "./dom.js";
import { count } from "./format.js";
import * as key from "./key.js";
import { OperationCard } from "./operation.js";
import { marked } from "./text.js";

const cards = [];

/** Show what has a text in its method, path or summary. */
function filter(text) {
  const wanted = text.trim().toLowerCase();
  let shown = 0;
  for (const card of cards) {
    card.root.hidden = !card.text.includes(wanted);
    shown += !card.root.hidden;
  }
  for (const section of byId("operations").children) section.hidden = !section.querySelector(".operation:not([hidden])");
  write(byId("found"), `${count(shown, "request", "requests")} of ${cards.length}`);
}

/** Open the operation that the address names. */
function follow() {
  const card = cards.find(({ root }) => `#${root.id}` === location.hash);
  if (!card) return;
  card.root.open = true;
  card.root.scrollIntoView();
}

function draw(document) {
  cards.length = 0;
  byId("operations").replaceChildren();
  byId("key").hidden = !document.components.securitySchemes;
  byId("about").replaceChildren(...marked(document.info.description));
  const groups = new Map(document.tags.map(({ name }) => [name, []]));
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const card = new OperationCard(document, method.toUpperCase(), path, operation);
      cards.push(card);
      groups.get(operation.tags[0]).push(card.root);
    }
  }
  for (const [name, operations] of groups) {
    const id = `group-${name}`;
    byId("operations").append(
      element("section", { "aria-labelledby": id }, element("h2", { id, class: "group" }, name), ...operations),
    );
  }
}

/** Read the document, which has what the key is for, and show it. */
async function read() {
  try {
    const answer = await fetch("/openapi.json", { cache: "no-store", headers: key.headers() });
    const document = await answer.json();
    if (!answer.ok) throw new Error(document.detail);
    draw(document);
    filter(elements.text.value);
    follow();
  } catch (error) {
    write(byId("found"), `The document cannot be read: ${error.message}`);
  }
}

const { elements } = byId("filter");
byId("filter").addEventListener("submit", (event) => event.preventDefault());
elements.text.addEventListener("input", () => filter(elements.text.value));
addEventListener("hashchange", follow);
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key.use(byId("key").elements.text.value);
  read();
});
await read();
