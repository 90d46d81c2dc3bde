// A request, as the fields of a form have it: to be sent, or written for a shell.

import { quoted } from "./curl.js";
import * as key from "./key.js";

export class Request {
  constructor(method, path) {
    this.method = method;
    this.path = path;
    this.query = new URLSearchParams();
    this.headers = {};
    this.body = null;
  }

  /** Give a parameter its value; what is empty is left out, but for the path. */
  set({ name, in: place, schema }, value) {
    if (place === "path") this.path = this.path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value === "") return;
    else if (place === "header") this.headers[name] = value;
    else if (schema.type === "object") for (const [key, each] of new URLSearchParams(value)) this.query.append(key, each);
    else this.query.append(name, value);
  }

  get url() {
    const query = this.query.toString();
    return query ? `${this.path}?${query}` : this.path;
  }

  /** What stands behind `curl`. */
  get command() {
    const parts = [quoted(this.url)];
    if (this.method !== (this.body === null ? "GET" : "POST")) parts.push(`-X ${this.method}`);
    parts.push(...key.argument());
    for (const [name, value] of Object.entries(this.headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
    if (this.body !== null) parts.push(`--data-binary ${quoted(this.body)}`);
    return parts.join(" ");
  }

  /** Send it; the answer's body is still to be read. */
  send(signal) {
    const headers = { ...this.headers, ...key.headers() };
    return fetch(this.url, { method: this.method, headers, body: this.body, cache: "no-store", signal });
  }
}
