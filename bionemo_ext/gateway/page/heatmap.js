// Mutation effects: 20 rows by chemistry, one column a residue, the mean of each site on top.

import { GROUPS, ROWS, nameOf, signed, title } from "./amino.js";
import { Chart, GUTTER, ticks } from "./chart.js";
import { effectScale, ink, theme } from "./palette.js";

const ROW = 15;
const MEAN = 16; // height of the strip on top
const GAP = 3; // between groups
const TOP = MEAN + 8;

// Rows stand apart by group: where each begins.
const offsets = [];
GROUPS.reduce((y, [, letters]) => {
  [...letters].forEach((_, i) => offsets.push(y + i * ROW));
  return y + letters.length * ROW + GAP;
}, TOP);
const BOTTOM = offsets.at(-1) + ROW;

export class HeatMap extends Chart {
  /** scan: the answer of /api/scan. */
  constructor(view, scan) {
    super(view, "Mutation effects", BOTTOM + 20);
    this.scan = scan;
    // Columns of the answer in the order of our rows.
    this.columns = [...ROWS].map((letter) => scan.amino_acids.indexOf(letter));
    this.means = scan.effects.map((row) => row.reduce((a, b) => a + b, 0) / (row.length - 1));
    this.limit = limitOf(scan.effects);
  }

  /** One pixel a value, of all residues; where they outnumber the screen's, neighbours share one. */
  paint() {
    const { length } = this.scan.effects;
    const share = Math.max(1, Math.ceil(1 / this.step));
    if (this.painted === `${theme()} ${share}`) return this.image;
    this.painted = `${theme()} ${share}`;
    const width = Math.ceil(length / share);
    const scale = effectScale();
    const image = new ImageData(width, ROWS.length + 1);
    for (let x = 0; x < width; x++) {
      const rows = this.scan.effects.slice(x * share, (x + 1) * share);
      const means = this.means.slice(x * share, (x + 1) * share);
      const average = (values) => values.reduce((a, b) => a + b, 0) / values.length;
      const put = (row, value) => {
        const place = 4 * (row * width + x);
        image.data.set(scale(0.5 + value / (2 * this.limit)), place);
        image.data[place + 3] = 255;
      };
      this.columns.forEach((column, row) => put(row, average(rows.map((effects) => effects[column]))));
      put(ROWS.length, average(means));
    }
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height: ROWS.length + 1 });
    canvas.getContext("2d").putImageData(image, 0, 0);
    this.image = [canvas, share];
    return this.image;
  }

  draw(context) {
    const [image, share] = this.paint();
    const [from, width] = [this.view.from / share, (this.view.to - this.view.from) / share];
    context.imageSmoothingEnabled = false;
    const strip = (row, y, height) =>
      context.drawImage(image, from, row, width, 1, this.left, y, this.plotWidth, height);
    strip(ROWS.length, 2, MEAN);
    [...ROWS].forEach((_, row) => strip(row, offsets[row], this.step > 5 ? ROW - 1 : ROW));
    context.fillStyle = ink("--soft");
    context.textAlign = "center";
    context.font = "11px ui-monospace, Menlo, Consolas, monospace";
    [...ROWS].forEach((letter, row) => context.fillText(letter, GUTTER / 2 + 4, offsets[row] + 11));
    context.textAlign = "right";
    context.font = "10px system-ui, sans-serif";
    context.fillText("mean", GUTTER - 3, 14);
    context.textAlign = "center";
    context.font = "11px system-ui, sans-serif";
    for (const tick of ticks(this.view.from, this.view.to, this.plotWidth)) {
      context.fillText(tick, Math.min(this.x(tick - 1) + this.step / 2, this.width - 14), BOTTOM + 15);
    }
    this.inside(context, () => this.wildTypes(context));
  }

  /** A dot where the amino acid is the wild type's. */
  wildTypes(context) {
    if (this.step < 3) return;
    context.fillStyle = ink("--ink");
    const [first, last] = this.seen;
    for (let i = first; i < last; i++) {
      const row = ROWS.indexOf(this.scan.sequence[i]);
      if (row < 0) continue;
      context.beginPath();
      context.arc(this.x(i) + this.step / 2, offsets[row] + ROW / 2, Math.min(2.4, this.step / 3), 0, 7);
      context.fill();
    }
  }

  drawMarks(context) {
    super.drawMarks(context);
    const { selected, row } = this.view;
    if (selected === null || row === null) return;
    context.strokeStyle = ink("--mark");
    context.lineWidth = 2.5;
    const width = Math.max(this.step, 4);
    const x = this.x(selected) + this.step / 2 - width / 2;
    this.inside(context, () => context.strokeRect(x - 1, offsets[row] - 1, width + 2, ROW + 1));
  }

  hit(x, y) {
    const row = offsets.findIndex((top) => y >= top && y < top + ROW);
    return { residue: this.residueAt(x), row: row < 0 ? null : row };
  }

  words(residue, found) {
    const row = found ? found.row : this.view.row;
    const lines = [title(this.scan.sequence, residue)];
    if (row === null || row === undefined) {
      return [...lines, `mean effect ${signed(this.means[residue])}`];
    }
    const [wild, mutant] = [this.scan.sequence[residue], ROWS[row]];
    if (wild === mutant) return [...lines, `${nameOf(mutant)} is the wild type`];
    const value = this.scan.effects[residue][this.columns[row]];
    return [`${wild}${residue + 1}${mutant}  ${signed(value)}`, `${nameOf(wild)} to ${nameOf(mutant)}`];
  }

  across(by) {
    const row = Math.min(ROWS.length - 1, Math.max(0, (this.view.row ?? (by > 0 ? -1 : 20)) + by));
    this.view.select(this.view.selected ?? Math.floor(this.view.from), { row });
  }
}

/** The scale ends where all but one in fifty effects lie. */
function limitOf(effects) {
  const sizes = Float32Array.from(effects.flat(), Math.abs).sort();
  return Math.max(0.1, Math.ceil(10 * sizes[Math.floor(0.98 * (sizes.length - 1))]) / 10);
}
