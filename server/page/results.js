// What was behind each button, over all that this page has seen.

import { writeRows } from "./dom.js";
import { duration } from "./format.js";
import { quantile } from "./samples.js";

export class Results {
  /** @param ways their names, in order. */
  constructor(body, ways) {
    this.body = body;
    this.ways = Object.fromEntries(ways.map((way) => [way, { calls: [], waited: [] }]));
  }

  /** A request has waited `took` seconds, up to `at`, while these calls ran: it counts for each way of theirs. */
  add(ways, took) {
    for (const way of new Set(ways)) this.ways[way].waited.push(...took);
  }

  ended({ way, began, ended }) {
    this.ways[way].calls.push(ended - began);
  }

  /** Each way that was tried: {way, queries, took, median, most, worst}, in seconds. */
  figures() {
    return Object.entries(this.ways)
      .filter(([, { calls }]) => calls.length)
      .map(([way, { calls, waited }]) => {
        const sorted = waited.toSorted((one, other) => one - other);
        const [median, most, worst] = [0.5, 0.99, 1].map((share) => quantile(sorted, share));
        return { way, queries: calls.length, took: Math.max(...calls), median, most, worst };
      });
  }

  draw() {
    const figures = this.figures();
    if (!figures.length) return;
    writeRows(
      this.body,
      figures.map(({ way, queries, took, median, most, worst }) => [
        way, String(queries), duration(took), duration(median), duration(most), duration(worst),
      ]),
      (at) => ({ class: figures[at].way }),
    );
  }
}
