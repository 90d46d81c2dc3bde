// The card of a job: started, followed, cancelled.

import { curl, quoted } from "./curl.js";
import { element, write } from "./dom.js";

const FINAL = new Set(["succeeded", "failed", "cancelled", "expired"]);

export class JobCard {
  /** @param live the stream that brings the job's events. */
  constructor(card, live) {
    this.live = live;
    this.form = card.querySelector("form");
    this.bar = card.querySelector("progress");
    this.state = card.querySelector(".state");
    this.cancel = this.form.elements.cancel;
    this.id = null;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    this.cancel.addEventListener("click", () => this.#ask(`/jobs/${this.id}`, { method: "DELETE" }));
    live.addEventListener("job", ({ detail }) => this.#draw(detail));
    card.querySelector(".curls").append(curl(() => `/jobs -H 'Content-Type: application/json' -d ${quoted(this.#body())}`, "start a job"));
  }

  #body() {
    const { steps, pause } = this.form.elements;
    return JSON.stringify({ name: "slow_count", parameters: { steps: steps.valueAsNumber, pause: pause.valueAsNumber } });
  }

  #start() {
    return this.#ask("/jobs", { method: "POST", headers: { "Content-Type": "application/json" }, body: this.#body() });
  }

  async #ask(path, options) {
    try {
      const answer = await fetch(path, { cache: "no-store", ...options });
      const document = await answer.json();
      if (!answer.ok) throw new Error(document.detail);
      if (document.id !== this.id && !FINAL.has(document.state)) {
        this.id = document.id;
        this.live.want("job", this.id);
      }
      this.#draw(document);
    } catch (error) {
      write(this.state, `It did not work: ${error.message}`);
    }
  }

  #draw(job) {
    if (this.id !== null && job.id !== this.id) return;
    const ended = FINAL.has(job.state);
    const { step = 0, steps = job.parameters.steps } = job.progress ?? {};
    this.bar.max = steps;
    this.bar.value = job.state === "succeeded" ? steps : step;
    const link = element("a", { href: `/jobs/${job.id}` }, job.state);
    const rest = job.state === "succeeded" ? `: its result is ${JSON.stringify(job.result)}` : ended ? `, at step ${step} of ${steps}` : `, step ${step} of ${steps}`;
    const worker = !ended && job.worker ? `, on ${job.worker}` : "";
    this.state.replaceChildren(link, `${rest}${worker}.`);
    if (ended && this.cancel === document.activeElement) this.form.querySelector(".primary").focus();
    this.cancel.disabled = ended;
    if (ended) {
      this.id = null;
      this.live.want("job", null);
    }
  }
}
