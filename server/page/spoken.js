// Sentences for a screen reader, not more often than one can listen.

import { write } from "./dom.js";

const EVERY = 5000; // milliseconds

/** An element of role `status`; of several sentences within one time, the last is said at its end. */
export class Spoken {
  #next = -Infinity;
  #timer = null;

  constructor(target) {
    this.target = target;
  }

  say(sentence) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#next = performance.now() + EVERY;
      write(this.target, sentence);
    }, Math.max(0, this.#next - performance.now()));
  }
}
