// Puts messages into a queue, one after the other: a browser has six connections, and this is one of them.

/** Dispatches `change` when any of what is here has changed. */
export class Producer extends EventTarget {
  constructor(path) {
    super();
    this.path = path;
    this.running = false;
    this.stopping = false; // after the message that is under way
    this.number = 0; // of the last message
    this.taken = 0; // 202: the broker has them
    this.refused = 0; // 503, queue-full
    this.outcome = ""; // of the last run, in words
  }

  /** What is sent next. */
  body() {
    return JSON.stringify({ parcel: this.number + 1 });
  }

  /**
   * Send that many; with Infinity, until the queue is full.
   *
   * @param wait seconds for which the server is to try again where it is full; 0 for not at all.
   */
  async run(count, wait) {
    if (this.running) return;
    this.running = true;
    this.#write("Producing …");
    let [sent, refusal] = [0, ""];
    try {
      while (sent < count && !this.stopping && !(refusal = await this.#put(wait))) sent += 1;
    } catch (error) {
      refusal = `It did not work: ${error.message}`;
    }
    this.running = this.stopping = false;
    this.#write(`${sent ? `${sent} taken, each in the broker before its answer. ` : ""}${refusal}`);
  }

  stop() {
    this.stopping = this.running;
    this.dispatchEvent(new Event("change"));
  }

  /** Send one; returns why no other is to follow, in words, or "". */
  async #put(wait) {
    const headers = { "Content-Type": "application/json", ...(wait && { Prefer: `wait=${wait}` }) };
    const answer = await fetch(this.path, { method: "POST", headers, body: this.body(), cache: "no-store" });
    if (answer.status === 202) {
      this.taken += 1;
      this.number += 1;
      this.dispatchEvent(new Event("change"));
      return "";
    }
    const problem = await answer.json();
    if (!problem.type.endsWith("queue-full")) throw new Error(problem.detail);
    this.refused += 1;
    const waited = wait ? `, after ${wait} s at the table` : "";
    return `Full: the next one was refused${waited}, 503 with Retry-After: ${answer.headers.get("Retry-After")}.`;
  }

  #write(outcome) {
    this.outcome = outcome;
    this.dispatchEvent(new Event("change"));
  }
}
