// One chart a residue-level task, and the ruler above them.

import { plain, title } from "./amino.js";
import { Chart, GUTTER, ticks } from "./chart.js";
import { classColours, ink, isOrdinal, isStructure } from "./palette.js";

const argmax = (row) => row.reduce((best, value, i) => (value > row[best] ? i : best), 0);
const expected = (row, classes) =>
  row.reduce((sum, p, i) => sum + p * Number(classes[i]), 0) / row.reduce((a, b) => a + b, 0);

/** What a task says of one row of values, in words. */
export function saying(task, row) {
  if (task.kind === "regression") return `${label(task)} ${plain(row[0])}`;
  if (task.kind === "multilabel") {
    const found = task.classes.filter((_, i) => row[i] >= 0.5);
    return `${label(task)}: ${found.join(", ") || "none"}`;
  }
  const best = argmax(row);
  return `${label(task)} ${className(task, best)} ${row[best].toFixed(2)}`;
}

export const label = (task) => task.name.replaceAll("_", " ");

const STRUCTURE_NAMES = { H: "helix", E: "strand", C: "coil" };
export const className = (task, i) =>
  (isStructure(task.classes) && STRUCTURE_NAMES[task.classes[i]]) || task.classes[i].replaceAll("_", " ");

/** Position, and letters where there is room. */
export class Ruler extends Chart {
  constructor(view, sequence) {
    super(view, "Residues", 38);
    this.sequence = sequence;
  }

  draw(context) {
    context.fillStyle = ink("--soft");
    context.textAlign = "center";
    for (const tick of ticks(this.view.from, this.view.to, this.plotWidth)) {
      const x = this.x(tick - 1) + this.step / 2;
      context.fillText(tick, Math.min(x, this.width - 14), 11);
      context.fillRect(x - 0.5, 15, 1, 4);
    }
    if (this.step < 7.5) {
      context.fillStyle = ink("--line");
      context.fillRect(this.left, 27, this.plotWidth, 2);
      return;
    }
    context.fillStyle = ink("--ink");
    context.font = `600 ${Math.min(13, this.step + 2)}px ui-monospace, Menlo, Consolas, monospace`;
    const [first, last] = this.seen;
    this.inside(context, () => {
      for (let i = first; i < last; i++) {
        context.fillText(this.sequence[i], this.x(i) + this.step / 2, 33);
      }
    });
  }

  words(residue) { return [title(this.sequence, residue)]; }
}

/** The chart of a residue-level task, chosen by its kind and classes. */
export function trackOf(view, sequence, task) {
  const Kind =
    task.kind === "regression" ? Line
    : task.kind === "multilabel" ? Strips
    : isOrdinal(task.classes) ? Bars
    : isStructure(task.classes) ? Structure : Areas;
  return new Kind(view, sequence, task);
}

class Track extends Chart {
  constructor(view, sequence, task, height) {
    super(view, label(task), height);
    Object.assign(this, { sequence, task });
  }

  draw(context) {
    this.inside(context, () => this.plot(context));
    this.scale(context);
  }

  /** Label and colour of what is drawn, for the legend. */
  legend() {
    const colours = classColours(this.task.classes);
    return this.task.classes.map((_, i) => [className(this.task, i), colours[i]]);
  }

  words(residue) {
    return [title(this.sequence, residue), saying(this.task, this.task.values[residue])];
  }

  axis(context, top, bottom, high, low) {
    context.fillStyle = ink("--soft");
    context.textAlign = "right";
    context.font = "11px system-ui, sans-serif";
    context.fillText(high, GUTTER - 5, top + 9);
    context.fillText(low, GUTTER - 5, bottom);
    context.fillStyle = ink("--line");
    context.fillRect(this.left, bottom, this.plotWidth, 1);
  }

  /** Probabilities of classes, one over the other. */
  stack(context, top, bottom) {
    const colours = classColours(this.task.classes);
    const [first, last] = this.seen;
    const width = Math.max(this.step * 1.02, 1);
    for (let i = first; i < last; i++) {
      let y = bottom;
      this.task.values[i].forEach((p, c) => {
        context.fillStyle = colours[c];
        const height = p * (bottom - top);
        context.fillRect(this.x(i), y - height, width, height);
        y -= height;
      });
    }
  }
}

class Areas extends Track {
  constructor(view, sequence, task) { super(view, sequence, task, 60); }
  plot(context) { this.stack(context, 4, 56); }
  scale(context) { this.axis(context, 4, 56, "1", "0"); }
}

/** A drawing of helices, strands and coil over their probabilities. */
class Structure extends Track {
  constructor(view, sequence, task) {
    super(view, sequence, task, 86);
    this.best = task.values.map(argmax);
  }

  plot(context) {
    const colours = classColours(this.task.classes);
    for (const [start, end, kind] of this.segments()) {
      context.fillStyle = context.strokeStyle = colours[kind];
      const shape = { H: helix, G: helix, I: helix, E: strand, B: strand }[this.task.classes[kind]] ?? coil;
      shape(context, this.x(start), this.x(end), 14);
    }
    this.stack(context, 34, 82);
  }

  scale(context) { this.axis(context, 34, 82, "1", "0"); }

  *segments() {
    const [first, last] = this.seen;
    // The whole of an element that begins before what is shown, so that its shape stays.
    let start = first;
    while (start > 0 && this.best[start - 1] === this.best[first]) start--;
    for (let i = start + 1; i <= this.best.length && start < last; i++) {
      if (this.best[i] !== this.best[start]) {
        yield [start, i, this.best[start]];
        start = i;
      }
    }
  }
}

function coil(context, from, to, y) {
  context.fillRect(from, y - 1, to - from, 2);
}

function strand(context, from, to, y) {
  const head = Math.min(to - from, 11);
  context.beginPath();
  context.rect(from, y - 4.5, to - from - head, 9);
  context.moveTo(to - head, y - 9);
  context.lineTo(to, y);
  context.lineTo(to - head, y + 9);
  context.fill();
}

function helix(context, from, to, y) {
  const turns = Math.max(1, Math.round((to - from) / 13));
  const turn = (to - from) / turns;
  context.lineWidth = Math.min(4, 1.5 + turn / 6);
  context.lineJoin = "round";
  context.beginPath();
  context.moveTo(from, y);
  for (let t = 0; t < turns; t++) {
    const x = from + t * turn;
    context.bezierCurveTo(x + turn * 0.1, y - 15, x + turn * 0.4, y - 15, x + turn / 2, y);
    context.bezierCurveTo(x + turn * 0.6, y + 15, x + turn * 0.9, y + 15, x + turn, y);
  }
  context.stroke();
}

/** Classes that are numbers: their mean as height, the likeliest as colour. */
class Bars extends Track {
  constructor(view, sequence, task) { super(view, sequence, task, 70); }

  plot(context) {
    const { classes, values } = this.task;
    const colours = classColours(classes);
    const [low, high] = [Number(classes[0]), Number(classes.at(-1))];
    const [first, last] = this.seen;
    const width = this.step > 4 ? this.step - 1 : Math.max(this.step, 1);
    for (let i = first; i < last; i++) {
      const part = (expected(values[i], classes) - low) / (high - low);
      const height = Math.max(2, part * 60);
      context.fillStyle = colours[Math.round(part * (classes.length - 1))];
      context.fillRect(this.x(i), 66 - height, width, height);
    }
  }

  scale(context) { this.axis(context, 4, 66, this.task.classes.at(-1), this.task.classes[0]); }

  legend() {
    const all = super.legend();
    return [all[0], all.at(-1)].map(([text, colour], i) => [`${text} ${i ? "high" : "low"}`, colour]);
  }

  words(residue) {
    const mean = expected(this.task.values[residue], this.task.classes);
    return [...super.words(residue), `mean ${mean.toFixed(1)}`];
  }
}

/** A number that fits beside an axis. */
const short = (value) =>
  String(Number(value.toFixed(Math.abs(value) < 10 ? 2 : 0))).replace("-", "−");

class Line extends Track {
  constructor(view, sequence, task) {
    super(view, sequence, task, 70);
    const numbers = task.values.map(([value]) => value);
    this.low = Math.min(...numbers);
    this.high = Math.max(...numbers);
  }

  legend() { return []; }

  plot(context) {
    const range = this.high - this.low || 1;
    const y = (value) => 64 - ((value - this.low) / range) * 56;
    const [first, last] = this.seen;
    context.beginPath();
    for (let i = first; i < last; i++) {
      context.lineTo(this.x(i) + this.step / 2, y(this.task.values[i][0]));
    }
    context.strokeStyle = ink("--accent");
    context.lineWidth = 1.6;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(this.x(last - 1) + this.step / 2, 66);
    context.lineTo(this.x(first) + this.step / 2, 66);
    context.globalAlpha = 0.14;
    context.fillStyle = ink("--accent");
    context.fill();
    context.globalAlpha = 1;
  }

  scale(context) {
    this.axis(context, 4, 66, short(this.high), short(this.low));
  }
}

/** One strip a label, as strong as its probability. */
class Strips extends Track {
  constructor(view, sequence, task) { super(view, sequence, task, 6 + 14 * task.classes.length); }

  plot(context) {
    const colours = classColours(this.task.classes);
    const [first, last] = this.seen;
    for (let i = first; i < last; i++) {
      this.task.values[i].forEach((p, c) => {
        context.globalAlpha = p;
        context.fillStyle = colours[c];
        context.fillRect(this.x(i), 4 + 14 * c, Math.max(this.step, 1), 11);
      });
    }
    context.globalAlpha = 1;
  }

  scale() {}
}
