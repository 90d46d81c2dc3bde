// The queries as bars: where each has waited for a worker, and where it has run. Those of one way that run at the same
// time are in rows of their own.

import { Axis } from "./axis.js";
import { drawn, set, write } from "./dom.js";
import { duration } from "./format.js";

const [HEIGHT, BAR] = [24, 16]; // pixels of a row, and of its bar

export class Rows {
  /** @param span seconds that it shows; ways their names, in order. */
  constructor(svg, description, span, ways) {
    this.svg = svg;
    this.description = description;
    this.span = span;
    this.ways = ways;
    this.grid = svg.appendChild(drawn("g"));
    this.bars = svg.appendChild(drawn("g"));
  }

  /** Draw {way, began, ended, wait, run} as they are at `now`; true when there are any. */
  draw(now, calls) {
    const axis = new Axis(this.svg, now, this.span);
    const rows = this.ways.flatMap((way) => packed(calls.filter((call) => call.way === way && (call.ended ?? now) > axis.from)));
    const height = Math.max(1, rows.length) * HEIGHT;
    this.svg.style.height = `${height}px`;
    set(this.svg, { viewBox: `0 0 ${axis.width} ${height}` });
    axis.draw(this.grid, 0, height, false);
    this.bars.replaceChildren(
      ...rows.flatMap((row, at) => row.map((call) => bar(axis, call, at * HEIGHT))),
    );
    write(this.description, rows.flat().map(sentence).join(" ") || "None yet.");
    return rows.length > 0;
  }
}

/** In as few rows as it takes for no two to overlap. */
export function packed(calls) {
  const rows = [];
  for (const call of calls) {
    const free = rows.find((row) => (row.at(-1).ended ?? Infinity) <= call.began);
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
  const text = `${call.way} ${duration((call.ended ?? axis.now) - call.began)}`;
  const inside = end + 110 > axis.width;
  group.append(
    drawn("text", { class: "took", x: inside ? Math.max(axis.left, axis.x(call.began)) - 6 : end + 6, y: y + BAR - 4, "text-anchor": inside ? "end" : "start" }, text),
  );
  return group;
}

function sentence({ way, began, ended, wait, run }) {
  if (ended === null) return `${way}: running.`;
  const waited = wait > 0.002 ? `waited ${duration(wait)}, ` : "";
  return `${way}: ${waited}ran ${duration(run)}, ${duration(ended - began)} in all.`;
}
