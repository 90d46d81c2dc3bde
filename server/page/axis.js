// The axis of time that the charts share: the newest on the right.

import { drawn, set } from "./dom.js";

const LEFT = 46; // pixels, for the labels of the other axis
const EVERY = 10; // seconds between two marks
const NARROW = 520; // pixels, below which half of the time is shown

/** The axis as it is now, for an element of SVG. */
export class Axis {
  constructor(svg, now, span) {
    this.width = svg.clientWidth || 600;
    this.narrow = this.width < NARROW;
    this.left = LEFT;
    this.right = this.width - (this.narrow ? 8 : 118);
    this.now = now;
    const shown = this.narrow ? span / 2 : span;
    this.from = now - shown;
    this.scale = (this.right - this.left) / shown;
  }

  x(time) {
    return this.left + Math.max(0, Math.min(time, this.now) - this.from) * this.scale;
  }

  /** Draw its marks, and their words at `bottom`, into a group. */
  draw(group, top, bottom, words) {
    group.replaceChildren();
    for (let ago = 0; ago <= this.now - this.from; ago += EVERY) {
      const x = Math.round(this.right - ago * this.scale);
      group.append(set(drawn("line"), { class: ago ? "grid" : "axis", x1: x, x2: x, y1: top, y2: bottom }));
      if (words) {
        const anchor = this.narrow && !ago ? "end" : "middle";
        group.append(drawn("text", { x, y: bottom + 18, "text-anchor": anchor }, ago ? `${ago} s ago` : "now"));
      }
    }
  }
}
