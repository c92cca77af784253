// A canvas that follows its width, the theme and the view; a second one over it has the marks.

import { ink, onThemeChange } from "./palette.js";
import { hideTip, showTip } from "./tip.js";

export const GUTTER = 34; // left of the residues: letters and axes
const EDGE = 6; // right of them

export class Chart {
  /** label: what it is, for those who do not see it. */
  constructor(view, label, height) {
    this.view = view;
    this.height = height;
    this.element = document.createElement("div");
    this.element.className = "chart";
    this.element.tabIndex = 0;
    this.base = this.element.appendChild(document.createElement("canvas"));
    this.over = this.element.appendChild(document.createElement("canvas"));
    this.over.className = "over";
    for (const [name, value] of Object.entries({
      role: "slider",
      "aria-label": label,
      "aria-orientation": "horizontal",
      "aria-valuemin": 1,
      "aria-valuemax": view.length,
      "aria-valuenow": 1,
      "aria-valuetext": "no residue chosen",
    })) this.element.setAttribute(name, value);
    this.stop = new AbortController();
    this.listen();
  }

  listen() {
    const { signal } = this.stop;
    this.view.addEventListener("range", () => this.later(), { signal });
    this.view.addEventListener("mark", () => this.later(true), { signal });
    const on = (type, listener, options = {}) =>
      this.element.addEventListener(type, listener, { ...options, signal });
    on("pointermove", (event) => this.point(event));
    on("pointerleave", () => (this.view.hover(null), hideTip()));
    on("click", (event) => this.click(event));
    on("keydown", (event) => this.key(event));
    on("wheel", (event) => this.wheel(event), { passive: false });
    this.observer = new ResizeObserver(() => this.later());
    this.observer.observe(this.element);
    onThemeChange(() => this.later(), { signal });
  }

  /** End it: a new protein has charts of its own. */
  remove() {
    this.stop.abort();
    this.observer.disconnect();
    this.element.remove();
  }

  // Geometry, in CSS pixels.
  get left() { return GUTTER; }
  get plotWidth() { return Math.max(1, this.width - GUTTER - EDGE); }
  get step() { return this.plotWidth / (this.view.to - this.view.from); }
  x(residue) { return this.left + (residue - this.view.from) * this.step; }
  residueAt(x) {
    const residue = Math.floor(this.view.from + (x - this.left) / this.step);
    return x < this.left || residue < 0 || residue >= Math.min(this.view.length, this.view.to)
      ? null : residue;
  }
  /** The residues that can be seen, as integers [first, last). */
  get seen() {
    return [Math.floor(this.view.from), Math.min(this.view.length, Math.ceil(this.view.to))];
  }

  /** Draw at the next frame, once however often it is asked. */
  later(marksOnly = false) {
    this.whole ||= !marksOnly;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.whole) this.redraw();
      this.whole = false;
      this.marks();
    });
  }

  redraw() {
    this.width = this.element.clientWidth;
    if (!this.width) return;
    this.draw(this.prepare(this.base));
  }

  marks() {
    if (!this.width) return;
    this.tell();
    const context = this.prepare(this.over);
    this.drawMarks(context);
  }

  prepare(canvas) {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.width * ratio, this.height * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) {
      Object.assign(canvas, { width, height });
      canvas.style.width = `${this.width}px`;
      canvas.style.height = `${this.height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.font = '12px system-ui, "Segoe UI", Roboto, sans-serif';
    return context;
  }

  /** Draw what must not reach beyond the residues that are shown. */
  inside(context, drawing) {
    context.save();
    context.beginPath();
    context.rect(this.left, 0, this.plotWidth, this.height);
    context.clip();
    drawing();
    context.restore();
  }

  /** Draw into the base canvas; a subclass does. */
  draw() {}

  /** Bands at the residues that are marked. */
  drawMarks(context) {
    this.inside(context, () => {
      for (const [residue, colour] of this.marked()) {
        context.strokeStyle = colour;
        context.lineWidth = 1.5;
        const width = Math.max(this.step, 2);
        const x = this.x(residue) + this.step / 2 - width / 2;
        context.strokeRect(x - 0.5, 0.75, width + 1, this.height - 1.5);
      }
    });
  }

  /** Residues that are marked, and in which colour. */
  marked() {
    const { hovered, selected } = this.view;
    return [[hovered, ink("--hover")], [selected, ink("--mark")]].filter(([residue]) => residue !== null);
  }

  /** What a person reads about a residue: lines of text. A subclass says more. */
  words() { return []; }

  tell() {
    const { selected } = this.view;
    if (selected === null) return;
    this.element.setAttribute("aria-valuenow", selected + 1);
    this.element.setAttribute("aria-valuetext", this.words(selected, null).join(", "));
  }

  /** What is under the pointer: the residue, and what a subclass adds. */
  hit(x) { return { residue: this.residueAt(x) }; }

  point(event) {
    const found = this.hit(event.offsetX, event.offsetY);
    this.view.hover(found.residue);
    if (found.residue === null) hideTip();
    else showTip(event, this.words(found.residue, found));
  }

  click(event) {
    const { residue, ...more } = this.hit(event.offsetX, event.offsetY);
    if (residue !== null) this.view.select(residue, { partner: null, row: null, ...more });
  }

  wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.view.zoom(Math.exp(event.deltaY / 300), this.residueAt(event.offsetX) ?? undefined);
    } else if (event.deltaX) {
      event.preventDefault();
      const by = event.deltaX / this.step;
      this.view.show(this.view.from + by, this.view.to + by);
    }
  }

  key(event) {
    const { view } = this;
    const at = view.selected ?? Math.floor(view.from) - 1;
    const by = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowRight: () => view.select(at + by),
      ArrowLeft: () => view.select(Math.max(0, at - by)),
      PageDown: () => view.select(at + 10),
      PageUp: () => view.select(Math.max(0, at - 10)),
      Home: () => view.select(0),
      End: () => view.select(view.length - 1),
      ArrowUp: () => this.across(-1),
      ArrowDown: () => this.across(1),
      Escape: () => view.select(null),
      "+": () => view.zoom(0.5),
      "=": () => view.zoom(0.5),
      "-": () => view.zoom(2),
      0: () => view.show(0, view.length),
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves[event.key]();
  }

  /** Up and down; charts with rows do something. */
  across() {}
}

/** Ticks at round numbers, about `room` pixels apart. */
export function ticks(from, to, pixels, room = 64) {
  const raw = ((to - from) * room) / Math.max(pixels, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1)));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) ?? 10 * power;
  const found = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
    if (tick > from) found.push(tick);
  }
  return found;
}
