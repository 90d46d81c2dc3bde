// The four buttons: a slow query each, in four ways.

import { now } from "./clock.js";
import { curl } from "./curl.js";
import { element, set, write } from "./dom.js";
import { count, duration } from "./format.js";
import { HERE, SENT, UNKNOWN } from "./rows.js";
import { timed } from "./timing.js";

const DELAY = 3; // seconds that each query sleeps in the database
const AT_ONCE = 3; // of the six connections that a browser has to a server; the page itself uses two
const SHOWN = 90; // seconds that a call is kept for the chart

export const WAYS = {
  blocking: { prefix: "/blocking", what: "in the handler, with PyMySQL: the loop waits" },
  threads: { prefix: "/threads", what: "in a pool of threads of the server" },
  aiomysql: { prefix: "/aiomysql", what: "on the loop, with a driver that does not block" },
  bridge: { prefix: "", what: "by a Celery worker, over RabbitMQ: Nowait’s way" },
};

/**
 * What was sent, `calls`: {way, place, began, ended, wait, run, status}; place is what runs it, and ended null while it
 * runs. Dispatches `change`.
 */
export class Calls extends EventTarget {
  constructor(list) {
    super();
    this.calls = [];
    this.buttons = Object.entries(WAYS).map(([way, { prefix, what }]) => {
      const path = `${prefix}/mysql_query/1?delay=${DELAY}`;
      const took = element("span", { class: "took" });
      const bar = element("i", { "aria-hidden": "true" });
      const button = element("button", { class: "way", type: "button" }, element("b", {}, way), element("span", {}, what), took, bar);
      button.addEventListener("click", () => this.#send(way, path));
      list.append(element("li", { class: way, "data-way": way }, button, curl(`'${path}'`, way)));
      return { way, button, took, bar };
    });
  }

  get running() {
    return this.calls.filter(({ ended }) => ended === null);
  }

  /** The bars that grow in the buttons. */
  draw(time) {
    for (const { way, took, bar } of this.buttons) {
      const running = this.running.filter((call) => call.way === way);
      const oldest = running[0];
      bar.style.transform = `scaleX(${oldest ? Math.min(1, (time - oldest.began) / DELAY) : 0})`;
      if (oldest) write(took, `${count(running.length, "query", "queries")}, ${(time - oldest.began).toFixed(1)} s`);
    }
  }

  async #send(way, path) {
    if (this.running.length >= AT_ONCE) return;
    const place = way === "bridge" ? SENT : HERE;
    const call = { way, place, began: now(), ended: null, wait: 0, run: 0, status: null };
    this.calls.push(call);
    this.#changed();
    try {
      const answer = await timed(path);
      const { server, queued, timing } = await answer.rest;
      call.status = answer.status;
      // Those without a worker do not say what they have waited for.
      call.run = timing.run ?? server ?? answer.at - call.began;
      call.wait = timing.queue ?? queued ?? 0;
      if (place === SENT) call.place = answer.headers.get("X-Worker") ?? UNKNOWN;
      call.ended = answer.at;
    } catch {
      call.status = 0;
      if (place === SENT) call.place = UNKNOWN;
      call.run = now() - call.began;
      call.ended = now();
    }
    const { took } = this.buttons.find((button) => button.way === way);
    const seconds = duration(call.ended - call.began);
    write(took, call.status === 200 ? `answered in ${seconds}` : call.status ? `${call.status} after ${seconds}` : `no answer, ${seconds}`);
    this.#changed();
  }

  #changed() {
    this.calls = this.calls.filter(({ ended }) => ended === null || ended > now() - SHOWN);
    const full = this.running.length >= AT_ONCE;
    // Not disabled: the focus would be lost.
    for (const { button } of this.buttons) set(button, { "aria-disabled": full });
    this.dispatchEvent(new Event("change"));
  }
}
