// The contact map: a square over the part of the sequence that is shown.

import { title } from "./amino.js";
import { Chart, GUTTER, ticks } from "./chart.js";
import { contactScale, ink, theme } from "./palette.js";

const LARGEST = 620;
const FULL = 65535;
const FEET = 22; // below: numbers

export class ContactMap extends Chart {
  /** values: L x L numbers, 65,535 for a certain contact. */
  constructor(view, sequence, values) {
    super(view, "Contact map", 300);
    Object.assign(this, { sequence, values });
    this.element.classList.add("square");
  }

  probability(one, other) {
    return this.values[one * this.sequence.length + other] / FULL;
  }

  /** The likeliest partners of a residue that are not its neighbours. */
  partners(residue, most = 5) {
    return [...this.sequence]
      .map((_, other) => [other, this.probability(residue, other)])
      .filter(([other]) => Math.abs(other - residue) >= 6)
      .sort((a, b) => b[1] - a[1])
      .slice(0, most);
  }

  redraw() {
    this.height = Math.min(LARGEST, this.element.clientWidth - GUTTER - 6) + FEET;
    super.redraw();
  }

  get plotWidth() { return Math.max(1, this.height - FEET); }
  get left() { return Math.max(GUTTER, (this.width - this.plotWidth + GUTTER) / 2); }
  y(residue) { return (residue - this.view.from) * this.step; }

  /** One pixel a pair; made once a theme. */
  paint() {
    if (this.painted === theme()) return this.image;
    this.painted = theme();
    const { length } = this.sequence;
    const scale = contactScale();
    // 256 colours are as many as an eye tells apart, and a table is quicker than a million sums.
    const table = Uint32Array.from({ length: 256 }, (_, i) => {
      const [red, green, blue] = scale(i / 255);
      return new Uint32Array(Uint8ClampedArray.of(red, green, blue, 255).buffer)[0];
    });
    const image = new ImageData(length, length);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[this.values[i] >> 8];
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = length;
    canvas.getContext("2d").putImageData(image, 0, 0);
    this.image = canvas;
    return canvas;
  }

  draw(context) {
    const [from, width] = [this.view.from, this.view.to - this.view.from];
    context.imageSmoothingEnabled = this.step < 1;
    const side = this.plotWidth;
    context.drawImage(this.paint(), from, from, width, width, this.left, 0, side, side);
    context.strokeStyle = ink("--line");
    context.strokeRect(this.left - 0.5, 0.5, side, side - 1);
    context.fillStyle = ink("--soft");
    context.font = "11px system-ui, sans-serif";
    for (const tick of ticks(this.view.from, this.view.to, side, 70)) {
      const place = this.x(tick - 1) + this.step / 2;
      context.textAlign = "center";
      context.fillText(tick, Math.min(place, this.left + side - 8), side + 15);
      context.textAlign = "right";
      context.fillText(tick, this.left - 5, Math.max(10, this.y(tick - 1) + this.step / 2 + 4));
    }
  }

  drawMarks(context) {
    const { selected, partner } = this.view;
    this.inside(context, () => {
      for (const [residue, colour] of this.marked()) this.cross(context, residue, colour);
      if (selected !== null && partner !== null) this.pair(context, selected, partner);
    });
  }

  /** The row and the column of a residue, framed so that their values stay seen. */
  cross(context, residue, colour) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 1.5;
    const [x, y, side] = [this.x(residue), this.y(residue), this.plotWidth];
    if (this.step < 5) {
      context.fillRect(x + this.step / 2 - 0.5, 0, 1, side);
      context.fillRect(this.left, y + this.step / 2 - 0.5, side, 1);
      return;
    }
    context.strokeRect(x, -2, this.step, side + 2);
    context.strokeRect(this.left - 2, y, side + 4, this.step);
  }

  pair(context, selected, partner) {
    context.strokeStyle = ink("--mark");
    context.lineWidth = 2.5;
    for (const [a, b] of [[selected, partner], [partner, selected]]) {
      context.beginPath();
      context.arc(this.x(a) + this.step / 2, this.y(b) + this.step / 2, Math.max(5, this.step), 0, 7);
      context.stroke();
    }
  }

  hit(x, y) {
    const partner = this.residueAt(y + this.left);
    const residue = this.residueAt(x);
    return residue === null || partner === null ? { residue: null } : { residue, partner };
  }

  words(residue, found) {
    const partner = found ? found.partner : this.view.partner;
    if (partner === null || partner === undefined) return [title(this.sequence, residue)];
    return [
      `${title(this.sequence, residue)} and ${title(this.sequence, partner)}`,
      `contact ${this.probability(residue, partner).toFixed(3)}`,
    ];
  }

  across(by) {
    const partner = (this.view.partner ?? this.view.selected ?? 0) + by;
    const bounded = Math.min(this.sequence.length - 1, Math.max(0, partner));
    this.view.select(this.view.selected ?? Math.floor(this.view.from), { partner: bounded });
  }
}
