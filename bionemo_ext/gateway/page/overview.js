// The bar that shows which part of the sequence is looked at; drag it along.

import { Chart } from "./chart.js";
import { ink } from "./palette.js";

export class Overview extends Chart {
  constructor(view) {
    super(view, "Part of the sequence that is shown", 18);
    this.element.removeAttribute("tabindex"); // the buttons and charts do the same from the keyboard
    this.element.setAttribute("role", "presentation");
    for (const name of this.element.getAttributeNames()) {
      if (name.startsWith("aria-")) this.element.removeAttribute(name);
    }
  }

  get left() { return 0; }
  get scale() { return this.width / this.view.length; }

  draw(context) {
    const { from, to } = this.view;
    context.fillStyle = ink("--line");
    context.beginPath();
    context.roundRect(0, 6, this.width, 6, 3);
    context.fill();
    context.fillStyle = ink("--accent");
    context.beginPath();
    context.roundRect(from * this.scale, 4, Math.max(6, (to - from) * this.scale), 10, 5);
    context.fill();
  }

  drawMarks(context) {
    if (this.view.selected === null) return;
    context.fillStyle = ink("--mark");
    context.fillRect((this.view.selected + 0.5) * this.scale - 1, 0, 2, this.height);
  }

  tell() {}
  click() {}
  wheel() {}

  point(event) {
    if (!(event.buttons & 1)) return;
    this.element.setPointerCapture(event.pointerId);
    const centre = event.offsetX / this.scale;
    const half = (this.view.to - this.view.from) / 2;
    this.view.show(centre - half, centre + half);
  }
}
