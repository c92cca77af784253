// What all charts share: the part of the sequence that is shown, and the residues that are marked.
// Residues count from 0 here and from 1 wherever a person reads them.

const NARROWEST = 12;

export class View extends EventTarget {
  constructor(length) {
    super();
    this.length = length;
    this.from = 0;
    this.to = length;
    this.hovered = null;
    this.selected = null;
    this.partner = null; // of a contact
    this.row = null; // of the heat map
  }

  /** Show residues [from, to), which may be fractions. */
  show(from, to) {
    const width = Math.min(this.length, Math.max(Math.min(NARROWEST, this.length), to - from));
    this.from = Math.min(Math.max(0, from), this.length - width);
    this.to = this.from + width;
    this.dispatchEvent(new Event("range"));
  }

  /** Show more (factor above 1) or less around a residue, which keeps its place. */
  zoom(factor, centre = this.selected ?? (this.from + this.to) / 2) {
    const width = (this.to - this.from) * factor;
    const part = (centre - this.from) / (this.to - this.from);
    const bounded = Math.min(Math.max(width, NARROWEST), this.length);
    this.show(centre - part * bounded, centre + (1 - part) * bounded);
  }

  hover(residue) {
    if (residue === this.hovered) return;
    this.hovered = residue;
    this.dispatchEvent(new Event("mark"));
  }

  /** Keep a residue marked; null lets it go. What else is given: partner, row. */
  select(residue, more = {}) {
    this.selected = residue === null ? null : Math.min(Math.max(0, residue), this.length - 1);
    if (residue === null) this.partner = this.row = null;
    Object.assign(this, more);
    if (this.selected !== null && (this.selected < this.from || this.selected + 1 > this.to)) {
      const half = (this.to - this.from) / 2;
      this.show(this.selected - half, this.selected + half);
    }
    this.dispatchEvent(new Event("mark"));
  }
}
