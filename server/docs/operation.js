// One operation: what it takes and answers, and a form that tries it.

import { Answer } from "./answer.js";
import { curl } from "./curl.js";
import { element } from "./dom.js";
import { Request } from "./request.js";
import { drawn, inWords, resolved, sample, types } from "./schema.js";
import { marked } from "./text.js";

const UPGRADED = "101";

export class OperationCard {
  /** Its content is drawn once it is opened. */
  constructor(document, method, path, operation) {
    Object.assign(this, { document, method, path, operation });
    this.text = `${method} ${path} ${operation.summary}`.toLowerCase();
    this.root = element(
      "details",
      { class: "operation", id: operation.operationId },
      element(
        "summary",
        {},
        element("b", { class: `method ${method}` }, method),
        element("code", {}, path),
        element("span", {}, operation.summary),
      ),
    );
    this.root.addEventListener("toggle", () => this.#draw(), { once: true });
  }

  #draw() {
    const { description, responses } = this.operation;
    const content = element("div");
    if (description) content.append(element("p", { class: "note" }, ...marked(description)));
    content.append(this.#form());
    // No page can have fetch() become a WebSocket.
    if (!(UPGRADED in responses)) content.append(this.#trial());
    content.append(this.#answers(responses));
    this.root.append(content);
  }

  #form() {
    this.fields = (this.operation.parameters ?? []).map((parameter) => [parameter, this.#input(parameter)]);
    const labels = this.fields.map(([parameter, input]) =>
      element(
        "label",
        {},
        `${parameter.name}${parameter.required ? "" : " (may be missing)"}`,
        input,
        element("small", {}, ...marked([parameter.description, inWords(this.document, parameter.schema)].filter(Boolean).join("; "))),
      ),
    );
    this.form = element("form", {}, element("div", { class: "fields" }, ...labels));
    const body = this.operation.requestBody?.content["application/json"].schema;
    if (body) this.form.append(this.#body(body));
    return this.form;
  }

  #input({ name, in: place, required, schema }) {
    const accepted = schema.type === "boolean" ? ["true", "false"] : schema.enum;
    if (accepted) {
      const choices = required ? accepted : ["", ...accepted];
      return element("select", {}, ...choices.map((value) => element("option", { value }, value || "–")));
    }
    const value = place === "header" || !required ? "" : sample(this.document, schema);
    const attributes = { value, autocomplete: "off", ...(required ? { required: "" } : {}) };
    if (schema.type === "object") attributes.placeholder = `${name === "parameters" ? "name" : name}=value&…`;
    return element("input", attributes);
  }

  #body(given) {
    const schema = resolved(this.document, given);
    this.json = element("textarea", { spellcheck: "false", "aria-label": "body of the request, JSON" });
    const fill = (chosen) => (this.json.value = JSON.stringify(sample(this.document, chosen), null, 2));
    fill(schema);
    const parts = [];
    if (schema.oneOf?.every(({ title }) => title)) {
      const kinds = element("select", {}, ...schema.oneOf.map(({ title }, at) => element("option", { value: at }, title)));
      kinds.addEventListener("change", () => fill(schema.oneOf[kinds.value]));
      parts.push(element("label", {}, "kind", kinds));
    }
    const described = element("details", {}, element("summary", {}, "what it may have"));
    for (const each of schema.oneOf && !types(schema).length ? schema.oneOf : [schema]) described.append(drawn(this.document, each));
    return element("div", { class: "body" }, ...parts, element("label", {}, "body, JSON", this.json), described);
  }

  #trial() {
    const answer = new Answer();
    const send = element("button", { class: "primary" }, "Send");
    const stop = element("button", { type: "button", disabled: "" }, "Stop");
    const what = `${this.method} ${this.path}`;
    const unbuffered = "text/event-stream" in (this.operation.responses[200]?.content ?? {}) ? "-N " : "";
    this.form.append(this.#accept(), send, stop, curl(() => `${unbuffered}${this.#request().command}`, what));
    stop.addEventListener("click", () => this.running.abort());
    this.form.addEventListener("submit", async (event) => {
      event.preventDefault();
      this.running = new AbortController();
      send.disabled = true;
      stop.disabled = false;
      stop.focus();
      await answer.show(this.#request(), this.running.signal);
      send.disabled = false;
      if (stop === document.activeElement) send.focus();
      stop.disabled = true;
    });
    return answer.root;
  }

  /** A choice where the answer may have several media types. */
  #accept() {
    const kinds = Object.keys(this.operation.responses[200]?.content ?? {});
    if (kinds.length < 2) return "";
    this.kind = element("select", {}, ...kinds.map((value) => element("option", { value }, value)));
    return element("label", {}, "Accept", this.kind);
  }

  #request() {
    const request = new Request(this.method, this.path);
    for (const [parameter, input] of this.fields) request.set(parameter, input.value);
    if (this.kind) request.headers.Accept = this.kind.value;
    if (this.json) {
      request.headers["Content-Type"] = "application/json";
      request.body = this.json.value;
    }
    return request;
  }

  #answers(responses) {
    const rows = Object.entries(responses).map(([status, given]) => {
      const { description, content = {} } = resolved(this.document, given);
      const kinds = Object.entries(content).map(([kind, { schema }]) => element("div", {}, element("code", {}, kind), " ", this.#shape(status, schema)));
      return element("tr", {}, element("th", { scope: "row" }, status), element("td", {}, ...marked(description)), element("td", {}, ...kinds));
    });
    const heads = ["status", "when", "what"].map((text) => element("th", { scope: "col" }, text));
    return element(
      "table",
      { class: "answers" },
      element("caption", {}, "Answers"),
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...rows),
    );
  }

  #shape(status, schema) {
    if (status >= 400) return "a problem";
    const members = resolved(this.document, schema);
    if (!members.properties) return inWords(this.document, schema);
    return element("details", {}, element("summary", {}, "what it has"), drawn(this.document, schema));
  }
}
