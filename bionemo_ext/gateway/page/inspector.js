// Everything about the residue that is chosen.

import { ROWS, groupOf, nameOf, plain, signed } from "./amino.js";
import { classColours } from "./palette.js";
import { className, label } from "./tracks.js";

const POINT =
  "Point at a residue to read its values. Click to keep it; it is marked in every view.";
const KEYS =
  "With the keyboard: Tab to a chart, arrows to move, + and − to zoom, Escape to let go.";

/** An element with properties and children; style is set by script, which the policy allows. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class Inspector {
  constructor(element, protein) {
    Object.assign(this, { element, protein });
    protein.view.addEventListener("mark", () => this.later());
    this.later();
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const { view, sequence, tasks, scan, map } = this.protein;
    const residue = view.selected ?? view.hovered;
    this.element.classList.toggle("chosen", view.selected !== null);
    if (residue === null) {
      this.element.replaceChildren(
        make("h3", { textContent: "Residue" }),
        make("p", { className: "soft", textContent: POINT }),
        make("p", { className: "soft", textContent: KEYS }),
      );
      return;
    }
    const letter = sequence[residue];
    this.element.replaceChildren(
      make("h3", { className: "residue" }, make("span", { className: "letter", textContent: letter }),
        make("span", { textContent: `${nameOf(letter)} ${residue + 1}` }),
        make("span", { className: "soft", textContent: groupOf(letter) }), this.close()),
      ...tasks.map((task) => this.task(task, task.values[residue])),
      ...(scan ? [this.mutations(scan, residue)] : []),
      ...(map ? [this.contacts(map, residue)] : []),
    );
  }

  close() {
    const button = make("button", { type: "button", className: "close", textContent: "×" });
    button.setAttribute("aria-label", "Let go of the residue");
    button.addEventListener("click", () => this.protein.view.select(null));
    return button;
  }

  task(task, row) {
    return make("section", {}, make("h4", { textContent: label(task) }), valueBars(task, row));
  }

  mutations(scan, residue) {
    const effects = [...ROWS]
      .filter((letter) => letter !== scan.sequence[residue])
      .map((letter) => [letter, scan.effects[residue][scan.amino_acids.indexOf(letter)]])
      .sort((a, b) => b[1] - a[1]);
    const chips = (some) => make("p", { className: "chips" }, ...some.map(([letter, value]) =>
      this.chip(`${letter} ${signed(value)}`, { row: ROWS.indexOf(letter) },
        `substitution by ${nameOf(letter)}`)));
    return make("section", {}, make("h4", { textContent: "substitutions, likeliest first" }),
      chips(effects.slice(0, 4)), make("h4", { textContent: "least likely" }),
      chips(effects.slice(-4).reverse()));
  }

  contacts(map, residue) {
    return make("section", {}, make("h4", { textContent: "contacts, 6 or more residues apart" }),
      make("p", { className: "chips" }, ...map.partners(residue).map(([partner, p]) =>
        this.chip(`${this.protein.sequence[partner]}${partner + 1} ${p.toFixed(2)}`, { partner },
          `contact with ${nameOf(this.protein.sequence[partner])} ${partner + 1}`))));
  }

  chip(text, more, spoken) {
    const button = make("button", { type: "button", textContent: text });
    button.setAttribute("aria-label", `${text}: ${spoken}`);
    button.addEventListener("click", () => {
      const { view } = this.protein;
      view.select(view.selected ?? view.hovered, more);
    });
    return button;
  }
}

/** Probabilities as bars, or the number of a regression; `most` keeps the likeliest alone. */
export function valueBars(task, row, most = Infinity) {
  if (task.kind === "regression") {
    return make("p", { className: "number", textContent: plain(row[0]) });
  }
  const colours = classColours(task.classes);
  const best = Math.max(...row);
  const many = Math.min(task.classes.length, most) > 6;
  return make("ul", { className: many ? "bars many" : "bars" }, ...likeliest(row, most).map((i) => {
    const bar = make("span", { className: "bar" });
    bar.style.width = `${100 * row[i]}%`;
    bar.style.background = colours[i];
    return make("li", { className: row[i] === best ? "best" : "" },
      make("span", { textContent: className(task, i) }),
      make("span", { className: "rail" }, bar),
      make("span", { textContent: row[i].toFixed(2) }));
  }));
}

/** Places of the highest values, highest first; all in their own order where they are few enough. */
function likeliest(row, most) {
  const places = row.map((_, i) => i);
  return row.length <= most ? places : places.sort((a, b) => row[b] - row[a]).slice(0, most);
}
