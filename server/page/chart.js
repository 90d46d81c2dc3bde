// The chart of the request that waits: its age, on a logarithmic scale.

import { Axis } from "./axis.js";
import { drawn, set } from "./dom.js";
import { duration } from "./format.js";

const [LOWEST, HIGHEST] = [0.0005, 10]; // seconds
const MARKS = [0.001, 0.01, 0.1, 1, 10];
const [TOP, BOTTOM] = [22, 30]; // pixels around it
const HOLE = 1; // seconds without samples, behind which the line begins anew

const LETTER = 7; // pixels of one, about

/** The times in which each way had calls that ran: those that overlap are one. */
export function together(calls, now) {
  const times = [];
  for (const { way, began, ended } of calls) {
    const before = times.findLast((time) => time.way === way);
    if (before && before.ended >= began) before.ended = Math.max(before.ended, ended ?? now);
    else times.push({ way, began, ended: ended ?? now });
  }
  return times;
}

export class Chart {
  /** @param span seconds that it shows. */
  constructor(svg, span) {
    this.svg = svg;
    this.span = span;
    this.layers = Object.fromEntries(
      ["bands", "grid", "marks", "lines"].map((name) => [name, svg.appendChild(drawn("g"))]),
    );
    const { lines } = this.layers;
    this.under = lines.appendChild(drawn("path", { class: "under" }));
    this.late = lines.appendChild(drawn("path", { class: "late" }));
    this.age = lines.appendChild(drawn("path", { class: "age" }));
    this.end = lines.appendChild(drawn("circle", { class: "end", r: 5 }));
    this.label = lines.appendChild(drawn("text", { class: "label" }));
    this.lagLabel = lines.appendChild(drawn("text", { class: "label lag" }));
    this.size = "";
  }

  /**
   * Draw it as it is at `now`.
   *
   * @param points {at, took} of what has waited, and of what waits.
   * @param lags {at, took} of the loop's lag.
   * @param calls {way, began, ended} of what was sent meanwhile.
   */
  draw(now, points, lags, calls) {
    const axis = new Axis(this.svg, now, this.span);
    const height = this.svg.clientHeight || 270;
    this.floor = height - BOTTOM;
    this.#frame(axis, height);
    this.layers.bands.replaceChildren(...this.#bands(axis, calls));
    const shown = points.filter(({ at }) => at >= axis.from);
    set(this.age, { d: this.#path(axis, shown) });
    set(this.under, { d: this.#area(axis, shown) });
    set(this.late, { d: this.#path(axis, lags.filter(({ at }) => at >= axis.from), 2.5) });
    this.#labels(axis, shown.at(-1), lags.at(-1));
  }

  y(seconds) {
    const value = Math.log(Math.min(HIGHEST, Math.max(LOWEST, seconds)) / LOWEST) / Math.log(HIGHEST / LOWEST);
    return this.floor - value * (this.floor - TOP);
  }

  #frame(axis, height) {
    axis.draw(this.layers.grid, TOP, this.floor, true);
    const size = `${axis.width} ${height}`;
    if (size === this.size) return;
    this.size = size;
    set(this.svg, { viewBox: `0 0 ${size}` });
    this.layers.marks.replaceChildren(
      ...MARKS.flatMap((mark) => [
        drawn("line", { class: "grid", x1: axis.left, x2: axis.right, y1: Math.round(this.y(mark)), y2: Math.round(this.y(mark)) }),
        drawn("text", { x: axis.left - 8, y: this.y(mark) + 4, "text-anchor": "end" }, mark < 1 ? `${mark * 1000} ms` : `${mark} s`),
      ]),
    );
  }

  #bands(axis, calls) {
    let taken = -Infinity; // up to where there is no room for another name
    return together(calls, axis.now).map(({ way, began, ended }) => {
      const [x, end] = [axis.x(began), axis.x(ended)];
      const band = drawn("g", { class: way });
      band.append(drawn("rect", { class: "band", x, y: TOP, width: Math.max(0, end - x), height: this.floor - TOP }));
      const wide = LETTER * (way.length + 1);
      const at = Math.min(x, axis.right - wide);
      if (at >= taken) {
        band.append(drawn("text", { x: at, y: TOP - 8, class: "label" }, way));
        taken = at + wide;
      }
      return band;
    });
  }

  #path(axis, points, hole = HOLE) {
    let [last, path] = [-Infinity, ""];
    for (const { at, took } of points) {
      path += `${at - last > hole ? "M" : "L"}${axis.x(at).toFixed(1)} ${this.y(took).toFixed(1)}`;
      last = at;
    }
    return path;
  }

  #area(axis, points) {
    return this.#path(axis, points)
      .split(/(?=M)/)
      .map((part) => {
        const [first, last] = [part.match(/M([\d.]+)/), part.match(/([\d.]+) [\d.]+$/)];
        return first && last ? `${part}L${last[1]} ${this.floor}L${first[1]} ${this.floor}Z` : "";
      })
      .join("");
  }

  #labels(axis, newest, lag) {
    const shown = newest !== undefined && axis.now - newest.at < HOLE;
    set(this.end, { cx: newest ? axis.x(newest.at) : 0, cy: newest ? this.y(newest.took) : 0, visibility: shown ? "visible" : "hidden" });
    const ends = [
      [this.label, shown ? newest : undefined, "waiting"],
      [this.lagLabel, lag && axis.now - lag.at < 2.5 ? lag : undefined, "loop lag"],
    ];
    let taken = -Infinity;
    for (const [label, point, name] of ends.sort((one, other) => (other[1]?.took ?? 0) - (one[1]?.took ?? 0))) {
      const visible = point !== undefined && !axis.narrow;
      set(label, { visibility: visible ? "visible" : "hidden" });
      if (!visible) continue;
      taken = Math.max(this.y(point.took) + 4, taken + 15);
      set(label, { x: axis.right + 12, y: taken });
      label.textContent = `${name} ${duration(point.took)}`;
    }
  }
}
