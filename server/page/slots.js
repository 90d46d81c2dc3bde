// The picture of a queue: a slot for each message that may wait in it.

import { drawn, set } from "./dom.js";

const [COLUMNS, MOST] = [20, 100]; // slots in a row, and in all; one is several messages where more may wait
const [SIZE, GAP] = [10, 2.5];

export class Slots {
  constructor(svg) {
    this.svg = svg;
    this.count = 0;
  }

  draw(waiting, bound) {
    this.#frame(Math.min(bound, MOST));
    const full = Math.ceil((Math.min(waiting, bound) / bound) * this.count);
    [...this.svg.querySelectorAll("rect")].forEach((slot, at) => slot.setAttribute("class", at < full ? "slot filled" : "slot"));
    this.svg.toggleAttribute("data-full", waiting >= bound);
  }

  #frame(count) {
    if (count === this.count) return;
    this.count = count;
    const [across, down] = [Math.min(count, COLUMNS), Math.ceil(count / COLUMNS)];
    set(this.svg, { viewBox: `0 0 ${across * (SIZE + GAP) - GAP} ${down * (SIZE + GAP) - GAP}` });
    this.svg.querySelectorAll("rect").forEach((slot) => slot.remove());
    for (let at = 0; at < count; at++) {
      const [x, y] = [at % COLUMNS, Math.floor(at / COLUMNS)].map((place) => place * (SIZE + GAP));
      this.svg.append(drawn("rect", { class: "slot", x, y, width: SIZE, height: SIZE, rx: 2 }));
    }
  }
}
