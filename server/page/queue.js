// The card of a bounded queue: a producer, and consumers that can be added and killed.

import { Consumer } from "./consumer.js";
import { curl, quoted } from "./curl.js";
import { element, set, write } from "./dom.js";
import { count } from "./format.js";
import { Producer } from "./producer.js";
import { Slots } from "./slots.js";
import { Spoken } from "./spoken.js";

const [SOME, WAIT] = [20, 5]; // messages, and seconds at the table
const MOST = 5; // consumers of one page
const SHOWN = 3; // pieces of news
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class QueueCard {
  #items = new Map(); // of the list, by consumer
  #number = 0;

  /** @param live the stream that brings the depth of the queue. */
  constructor(card, live, name) {
    this.name = name;
    this.path = `/queues/${name}`;
    this.card = card;
    [this.produce, this.consume] = card.querySelectorAll("form");
    this.slots = new Slots(card.querySelector(".slots"));
    this.spoken = new Spoken(card.querySelector(".spoken"));
    this.producer = new Producer(`${this.path}/messages`);
    this.producer.addEventListener("change", () => this.#drawProducer());
    this.#listen();
    live.addEventListener("statistics", ({ detail }) => this.#drawDepth(detail.messages.find((each) => each.name === name)));
    document.addEventListener("visibilitychange", () => document.hidden && this.producer.stop());
    card.querySelector(".curls").append(
      curl(() => `-i ${this.path}/messages -H 'Content-Type: application/json' ${this.#preference()}-d ${quoted(this.producer.body())}`, "produce one"),
    );
  }

  get #consumers() {
    return [...this.#items.keys()];
  }

  #part(name) {
    return this.card.querySelector(`.${name}`);
  }

  #listen() {
    const { until } = this.produce.elements;
    this.produce.addEventListener("submit", (event) => {
      event.preventDefault();
      this.producer.run(SOME, this.#wait());
    });
    until.addEventListener("click", () => (this.producer.running ? this.producer.stop() : this.producer.run(Infinity, this.#wait())));
    this.consume.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add();
    });
  }

  #wait() {
    return this.produce.elements.wait.checked ? WAIT : 0;
  }

  #preference() {
    return this.#wait() ? `-H 'Prefer: wait=${WAIT}' ` : "";
  }

  #drawProducer() {
    const { running, taken, refused, outcome } = this.producer;
    const { some, until } = this.produce.elements;
    set(some, { "aria-disabled": running });
    write(until, running ? "Stop" : "Until it is full");
    write(this.#part("taken"), String(taken));
    write(this.#part("refused"), String(refused));
    write(this.#part("state"), outcome);
  }

  #drawDepth(queue) {
    const depth = this.#part("depth");
    if (!queue) return write(depth, "This server has no such queue.");
    const { waiting, bound, consumers } = queue;
    this.slots.draw(waiting ?? 0, bound);
    const held = this.#consumers.filter((consumer) => consumer.held).length;
    write(depth, waiting === null ? "It is not there yet." : `${waiting} of ${bound} wait`);
    write(this.#part("held"), waiting === null ? "The first message makes it." : `+ ${held} in hands here; ${count(consumers, "consumer", "consumers")}, over all tabs`);
  }

  #add() {
    if (this.#consumers.length >= MOST) return;
    const { seconds } = this.consume.elements;
    const consumer = new Consumer((this.#number += 1), `${this.path}/consumer`, () => seconds.valueAsNumber || 0);
    const kill = element("button", { type: "button", class: "kill", "aria-label": `Kill consumer ${consumer.number}` }, "Kill");
    const item = element("li", {}, element("b", {}, `${consumer.number}`), element("span", { class: "what" }), element("span", { class: "done" }), kill, element("i", { "aria-hidden": "true" }));
    kill.addEventListener("click", () => consumer.kill());
    consumer.addEventListener("change", () => this.#drawConsumer(consumer, item));
    consumer.addEventListener("end", ({ detail }) => this.#ended(consumer, item, detail));
    this.#items.set(consumer, item);
    this.#part("consumers").append(item);
    this.#drawConsumer(consumer, item);
    this.#drawRoom();
  }

  #drawConsumer({ number, connected, held, seconds, done }, item) {
    const [what, finished] = item.querySelectorAll("span");
    const again = held?.redelivered ? ", which came again (redelivered)" : "";
    write(what, held ? `works on ${named(held)}${again}` : connected ? "waits for a message" : "connecting");
    write(finished, `${done} done`);
    item.classList.toggle("again", Boolean(again));
    const bar = item.querySelector("i");
    bar.getAnimations().forEach((animation) => animation.cancel());
    if (held && !still.matches) bar.animate([{ transform: "scaleX(0)" }, { transform: "scaleX(1)" }], seconds * 1000);
    if (again) this.#news(`${named(held, true)} came again, redelivered, to consumer ${number}.`);
  }

  #ended(consumer, item, { held, why }) {
    if (item.contains(document.activeElement)) {
      const next = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector("button");
      (next ?? this.consume.elements.add).focus();
    }
    item.remove();
    this.#items.delete(consumer);
    this.#drawRoom();
    const who = `Consumer ${consumer.number}`;
    const lost = held ? `: ${named(held)} goes back to the queue` : "";
    this.#news(why ? `${who} is gone, ${why}${lost}.` : held ? `${who} was killed${lost}.` : `${who} was killed, with nothing in its hands.`);
  }

  #drawRoom() {
    set(this.consume.elements.add, { "aria-disabled": this.#consumers.length >= MOST });
    this.#part("none").hidden = this.#consumers.length > 0;
  }

  #news(sentence) {
    const list = this.#part("news");
    list.prepend(element("li", {}, sentence));
    while (list.children.length > SHOWN) list.lastChild.remove();
    this.spoken.say(sentence);
  }
}

function named({ data, message_id }, first = false) {
  const name = data?.parcel ? `parcel ${data.parcel}` : `message ${message_id.slice(0, 8)}`;
  return first ? name[0].toUpperCase() + name.slice(1) : name;
}
