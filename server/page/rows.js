// The queries as bars, below the name of what has run them: how long each has waited there, and run. Those whose bars or
// words would be over one another are in rows of their own.

import { Axis } from "./axis.js";
import { drawn, set, write } from "./dom.js";
import { duration } from "./format.js";

const [NAME, HEIGHT, BAR] = [24, 22, 16]; // pixels of a name, of a row, and of its bar
const [LETTER, SPACE] = [7, 12]; // pixels of one, about, and around a word

export const HERE = "this server";
export const SENT = "a worker that has not answered yet";
export const UNKNOWN = "a worker that is not known";

export class Rows {
  /** @param span seconds that it shows. */
  constructor(svg, description, span) {
    this.svg = svg;
    this.description = description;
    this.span = span;
    this.grid = svg.appendChild(drawn("g"));
    this.bars = svg.appendChild(drawn("g"));
  }

  /** Draw {way, place, began, ended, wait, run} as they are at `now`; true when there are any. */
  draw(now, calls) {
    const axis = new Axis(this.svg, now, this.span);
    const until = (call) => (call.ended ?? Infinity) + wide(word(call, now)) / axis.scale;
    const places = placed(calls.filter((call) => (call.ended ?? now) > axis.from), until);
    let height = 0;
    const groups = places.map(([name, rows]) => {
      const group = drawn("g", { class: "place" }, drawn("text", { x: 0, y: height + NAME - 8, class: "name" }, name));
      height += NAME;
      for (const row of rows) {
        group.append(...row.map((call) => bar(axis, call, height)));
        height += HEIGHT;
      }
      return group;
    });
    this.svg.style.height = `${height}px`;
    set(this.svg, { viewBox: `0 0 ${axis.width} ${Math.max(1, height)}` });
    axis.draw(this.grid, 0, height, false);
    this.bars.replaceChildren(...groups);
    const sentences = places.map(([name, rows]) => `By ${name}: ${rows.flat().map(sentence).join(" ")}`);
    write(this.description, sentences.join(" ") || "None yet.");
    return places.length > 0;
  }
}

/** The places of calls with the rows of each: this server, the workers by name, those whose worker is not known yet. */
export function placed(calls, until) {
  const places = new Map();
  for (const call of calls) places.set(call.place, [...(places.get(call.place) ?? []), call]);
  const rank = (name) => (name === HERE ? 0 : name === SENT ? 2 : 1);
  return [...places]
    .sort(([one], [other]) => rank(one) - rank(other) || one.localeCompare(other))
    .map(([name, found]) => [name, packed(found, until)]);
}

/** In as few rows as it takes; `until` gives when the row of a call is free again. */
export function packed(calls, until) {
  const rows = [];
  for (const call of calls) {
    const free = rows.find((row) => until(row.at(-1)) <= call.began);
    if (free) free.push(call);
    else rows.push([call]);
  }
  return rows;
}

function bar(axis, call, top) {
  const group = drawn("g", { class: call.way }, drawn("title", {}, sentence(call)));
  const y = top + (HEIGHT - BAR) / 2;
  const rectangle = (kind, from, to) => {
    const [x, end] = [axis.x(from), axis.x(to)];
    group.append(drawn("rect", { class: kind, x, y, width: Math.max(1, end - x), height: BAR, rx: 3 }));
    return end;
  };
  if (call.ended === null) {
    rectangle("open", call.began, axis.now);
  } else {
    const ran = call.ended - call.run;
    if (call.wait > 0.002) rectangle("wait", call.began, ran);
    rectangle("run", call.wait > 0.002 ? ran : call.began, call.ended);
  }
  const end = axis.x(call.ended ?? axis.now);
  const text = word(call, axis.now);
  const inside = end + wide(text) > axis.width;
  group.append(
    drawn("text", { class: "took", x: inside ? Math.max(axis.left, axis.x(call.began)) - 6 : end + 6, y: y + BAR - 4, "text-anchor": inside ? "end" : "start" }, text),
  );
  return group;
}

/** What stands beside the bar of a call. Workers run those of one way. */
function word({ way, place, began, ended }, now) {
  const took = duration((ended ?? now) - began);
  return place === HERE ? `${way} ${took}` : took;
}

function wide(text) {
  return text.length * LETTER + SPACE;
}

function sentence({ way, began, ended, wait, run }) {
  if (ended === null) return `${way}: running.`;
  const waited = wait > 0.002 ? `waited ${duration(wait)}, ` : "";
  return `${way}: ${waited}ran ${duration(run)}, ${duration(ended - began)} in all.`;
}
