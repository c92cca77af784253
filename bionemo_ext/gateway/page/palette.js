// Colours, for light and dark. All are told apart with the usual kinds of colour blindness.

const dark = matchMedia("(prefers-color-scheme: dark)");

export function onThemeChange(listener, options) {
  dark.addEventListener("change", listener, options);
}

/** What colours depend on; a picture made for one theme is not for the other. */
export const theme = () => (dark.matches ? "dark" : "light");

/** A colour of the style sheet, for example ink("--ink"). */
export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Okabe and Ito's colours; the letters of secondary structure as DSSP has them.
const STRUCTURE = { H: "--helix", G: "--helix", I: "--helix", E: "--strand", B: "--strand" };
const CATEGORIES = ["--k1", "--k2", "--k3", "--k4", "--k5", "--k6", "--k7"];

/** Whether classes are those of secondary structure. */
export function isStructure(classes) {
  const known = new Set("CEHGIBTSL-");
  return ["E", "H"].every((c) => classes.includes(c)) && classes.every((c) => known.has(c));
}

/** Whether classes are numbers in order, such as conservation from 1 to 9. */
export function isOrdinal(classes) {
  return classes.length > 2 && classes.every((c) => /^\d+$/.test(c));
}

/** One colour a class. */
export function classColours(classes) {
  if (isStructure(classes)) return classes.map((c) => ink(STRUCTURE[c] ?? "--coil"));
  if (isOrdinal(classes)) {
    const scale = ordinalScale();
    return classes.map((_, i) => css(scale(i / (classes.length - 1))));
  }
  return classes.map((_, i) => ink(CATEGORIES[i % CATEGORIES.length]));
}

const hex = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));

/** A function from 0..1 to [red, green, blue] through colours at even steps. */
function scale(stops) {
  const points = stops.map(hex);
  return (value) => {
    const place = Math.min(Math.max(value, 0), 1) * (points.length - 1);
    const low = Math.min(Math.floor(place), points.length - 2);
    const share = place - low;
    return points[low].map((c, i) => Math.round(c + (points[low + 1][i] - c) * share));
  };
}

export const css = (rgb) => `rgb(${rgb.join(" ")})`;

/** From no contact to a certain one. */
export function contactScale() {
  return dark.matches
    ? scale(["#161e25", "#15404c", "#1c777f", "#4fbfae", "#e4f5a5"])
    : scale(["#ffffff", "#cfe9e6", "#69bcb7", "#1f7f8c", "#0b2f4f"]);
}

/** From less likely than the wild type, through as likely (one half), to more likely. */
export function effectScale() {
  return dark.matches
    ? scale(["#ffb38a", "#d96f45", "#7d4031", "#1d2730", "#27557d", "#4a95d1", "#a6d8ff"])
    : scale(["#7f1d0e", "#c4502e", "#f0a583", "#f6f7f8", "#92c1e0", "#3480b8", "#0b3c6b"]);
}

function ordinalScale() {
  return dark.matches
    ? scale(["#2b4a5a", "#2f8090", "#5cc4b0", "#f2e58b"])
    : scale(["#bcdcdf", "#5fb0b5", "#1f7a8c", "#123b5d"]);
}
