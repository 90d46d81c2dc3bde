// The one connection by which the server sends everything live: a browser has six to it, over all its tabs.

import { now } from "./clock.js";

const AGAIN = 1000; // milliseconds

/** Dispatches each event of the stream under its name, its data as `detail`. */
export class Live extends EventTarget {
  #source = null;
  #timer = null;
  #wanted = new URLSearchParams();

  /** @param names of the events. */
  constructor(path, names) {
    super();
    this.path = path;
    this.names = names;
    this.heard = now(); // when anything came last
    this.last = ""; // the last id that was seen
  }

  get isOpen() {
    return this.#source !== null || this.#timer !== null;
  }

  open() {
    this.close();
    // By itself, an EventSource goes on behind the last id; a new one begins anew, unless it is given that.
    if (this.last) this.#wanted.set("since", this.last);
    const query = this.#wanted.toString();
    const source = (this.#source = new EventSource(query ? `${this.path}?${query}` : this.path));
    for (const name of this.names) {
      source.addEventListener(name, ({ data, lastEventId }) => {
        this.heard = now();
        this.last = lastEventId || this.last;
        this.dispatchEvent(new CustomEvent(name, { detail: JSON.parse(data) }));
      });
    }
    source.addEventListener("open", () => (this.heard = now()));
    source.addEventListener("error", () => {
      // Any status but 200 ends it for good: another one is needed. After a lost connection it comes again by itself.
      if (source.readyState !== EventSource.CLOSED || source !== this.#source) return;
      this.close();
      this.#timer = setTimeout(() => this.open(), AGAIN);
    });
  }

  close() {
    this.#source?.close();
    clearTimeout(this.#timer);
    this.#source = this.#timer = null;
  }

  /** Have the stream bring this, too: a parameter of its address; null for no more of it. */
  want(name, value) {
    if (value === null) this.#wanted.delete(name);
    else this.#wanted.set(name, value);
    if (this.isOpen) this.open();
  }
}
