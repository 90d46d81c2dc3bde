// The card of a topic: what one tab publishes, all of them get.

import { curl, quoted } from "./curl.js";
import { element, write } from "./dom.js";
import { Spoken } from "./spoken.js";

const SHOWN = 6; // messages

export class TopicCard {
  #tab = Math.random().toString(36).slice(2, 8); // what this page publishes has it

  /** @param live the stream that brings the topic's messages. */
  constructor(card, live, name) {
    this.path = `/topics/${name}`;
    this.follows = false;
    this.form = card.querySelector("form");
    this.list = card.querySelector("ol");
    this.state = card.querySelector(".state");
    this.spoken = new Spoken(card.querySelector(".spoken"));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish();
    });
    live.addEventListener("topic", ({ detail }) => this.#show(live.last, detail));
    live.addEventListener("statistics", () => this.#follow(live.last));
    live.addEventListener("gap", ({ detail }) => this.#add("gap", `Some messages before number ${detail.before} may be missing: they are deleted.`));
    live.addEventListener("reset", () => this.#add("gap", "The broker has another log: any number of messages may be missing."));
    live.want("topics", name);
    card.querySelector(".curls").append(
      curl(() => `${this.path} -H 'Content-Type: application/json' -d ${quoted(this.#body())}`, "publish"),
      curl(`-N ${this.path}/events`, "the topic", "copy as curl to follow"),
    );
  }

  #body() {
    return JSON.stringify({ text: this.form.elements.text.value, tab: this.#tab });
  }

  async #publish() {
    const began = performance.now();
    try {
      const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: this.#body(), cache: "no-store" };
      const answer = await fetch(this.path, options);
      if (!answer.ok) throw new Error((await answer.json()).detail);
      write(this.state, `Published: the broker has it, after ${Math.round(performance.now() - began)} ms.`);
      this.form.elements.text.select();
    } catch (error) {
      write(this.state, `It did not work: ${error.message}`);
    }
  }

  #follow(id) {
    if (!id || this.follows) return;
    this.follows = true;
    write(this.state, `This tab follows the topic, from behind number ${id}.`);
  }

  #show(id, { data }) {
    const { text, tab } = data ?? {};
    const from = tab === this.#tab ? "this tab" : tab ? "another tab" : "elsewhere";
    const shown = typeof text === "string" ? text : JSON.stringify(data);
    this.#add(tab === this.#tab ? "own" : "", shown, from, `number ${id}`);
    this.spoken.say(`From ${from}: ${shown}`);
  }

  #add(kind, text, ...notes) {
    const item = element("li", { class: kind }, element("b", {}, text), ...notes.map((note) => element("span", {}, note)));
    this.list.prepend(item);
    while (this.list.children.length > SHOWN) this.list.lastChild.remove();
  }
}
