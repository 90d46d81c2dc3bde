// Consumes a queue: one message at a time, worked on for a while, then acknowledged.

const LEASE = 300; // seconds for which the server lets it hold a message; a tab that nobody sees has slow timers

/**
 * One consumer: `held` is the message that it works on, or null, `seconds` what that takes, `done` how many it has done.
 * Dispatches `change`, and at its end `end` with what it held and why it has ended.
 */
export class Consumer extends EventTarget {
  #timer = null;
  #ended = false;

  /** @param work gives the seconds that a message takes. */
  constructor(number, path, work) {
    super();
    this.number = number;
    this.work = work;
    this.connected = false;
    this.held = null;
    this.seconds = 0;
    this.done = 0;
    this.socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${path}?prefetch=1&lease=${LEASE}`);
    this.socket.addEventListener("open", () => {
      this.connected = true;
      this.#changed();
    });
    this.socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    this.socket.addEventListener("close", ({ code, reason }) => {
      this.#end(this.connected ? reason || `the connection was lost (${code})` : "the server did not take it");
    });
  }

  /** End it at once: what it holds is not acknowledged. */
  kill() {
    this.#end("");
    this.socket.close();
  }

  #take(message) {
    if (this.#ended) return;
    this.held = message;
    this.seconds = this.work();
    this.#timer = setTimeout(() => {
      this.socket.send(JSON.stringify({ ack: message.tag }));
      this.held = null;
      this.done += 1;
      this.#changed();
    }, this.seconds * 1000);
    this.#changed();
  }

  /** @param why it has ended; "" where it was killed. */
  #end(why) {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    const { held } = this;
    this.held = null;
    this.dispatchEvent(new CustomEvent("end", { detail: { held, why } }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
