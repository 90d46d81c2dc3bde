// The answer to a request, shown as it comes.

import { element, write } from "./dom.js";
import { duration } from "./format.js";

const MOST = 200_000; // characters that are shown

export class Answer {
  constructor() {
    this.status = element("p", { class: "state", role: "status" });
    this.headers = element("pre", { tabindex: "0", role: "region", "aria-label": "headers of the answer" });
    this.body = element("pre", { tabindex: "0", role: "region", "aria-label": "body of the answer" });
    this.root = element("div", { class: "answer" }, this.status, this.headers, this.body);
  }

  /** Send a request, and show what comes of it, until its end or the signal. */
  async show(request, signal) {
    const began = performance.now();
    this.headers.textContent = this.body.textContent = "";
    write(this.status, "Waiting.");
    try {
      const answer = await request.send(signal);
      const head = `${answer.status} ${answer.statusText}`;
      write(this.status, `${head}, its beginning after ${duration((performance.now() - began) / 1000)}`);
      this.headers.textContent = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      await this.#read(answer);
      write(this.status, `${head}, in ${duration((performance.now() - began) / 1000)}`);
    } catch (error) {
      write(this.status, signal.aborted ? "Stopped." : `It did not work: ${error.message}`);
    }
  }

  async #read(answer) {
    let text = "";
    const decoder = new TextDecoder();
    const reader = answer.body?.getReader();
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      if (text.length > MOST) continue;
      text += decoder.decode(value, { stream: true });
      this.body.textContent = text.slice(0, MOST);
    }
    if (text.length > MOST) this.body.append("\n… and more");
    else if ((answer.headers.get("Content-Type") ?? "").includes("json") && !text.includes("\n")) this.body.textContent = indented(text);
  }
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
