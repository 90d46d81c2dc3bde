// Fetches /i_want_you_now again and again, one request after the other.

import { now, pause } from "./clock.js";
import { timed } from "./timing.js";

const PATH = "/i_want_you_now";

/** Dispatches `answer` with what came back. */
export class Probe extends EventTarget {
  /** @param step seconds between two requests. */
  constructor(step) {
    super();
    this.step = step;
    this.sent = null; // when the one that is not answered was sent; null for none
    this.stopping = null;
  }

  start() {
    if (this.stopping) return;
    this.stopping = new AbortController();
    this.#run(this.stopping.signal);
  }

  stop() {
    this.stopping?.abort();
    this.stopping = this.sent = null;
  }

  async #run(signal) {
    while (!signal.aborted) {
      const began = now();
      // A server that is not there answers none: the one that waits is the first of them.
      this.sent ??= began;
      try {
        const answer = await timed(PATH, { signal });
        const { sent } = this;
        this.sent = null;
        const { queued, server } = await answer.rest;
        if (signal.aborted) return;
        const took = sent < began || server === null ? answer.at - sent : server;
        const detail = { sent, at: answer.at, took, queued, process: answer.headers.get("X-Process") };
        this.dispatchEvent(new CustomEvent("answer", { detail }));
      } catch {
        await pause(0.25, signal);
      }
      await pause(Math.max(0, began + this.step - now()), signal);
    }
  }
}
