// The cards of one protein: each is filled when its answer comes.

import { ROWS } from "./amino.js";
import { ContactMap } from "./contacts.js";
import { buttons } from "./download.js";
import { HeatMap } from "./heatmap.js";
import { make, valueBars } from "./inspector.js";
import { contactScale, css, effectScale, isOrdinal, isStructure, onThemeChange } from "./palette.js";
import { Ruler, label, trackOf } from "./tracks.js";

const card = (id) => document.getElementById(id);
const body = (id) => card(id).querySelector(".body");

/** Put content into a card, and downloads into its head. */
function fill(id, children, downloads) {
  body(id).replaceChildren(...children);
  card(id).querySelector(".downloads")?.remove();
  if (downloads) card(id).querySelector(".head").append(downloads);
  card(id).removeAttribute("aria-busy");
}

/** While an answer is waited for. */
export function wait(id) {
  card(id).hidden = false;
  card(id).setAttribute("aria-busy", "true");
  fill(id, [make("div", { className: "skeleton" })]);
  card(id).setAttribute("aria-busy", "true");
}

/** What went wrong, and a way to try again. */
export function fail(id, message, again) {
  const button = make("button", { type: "button", textContent: "Try again" });
  button.addEventListener("click", again);
  fill(id, [make("p", { className: "problem", textContent: message, role: "alert" }), button]);
}

export function hint(id, message) {
  fill(id, [make("p", { className: "soft", textContent: message })]);
}

const NO_TASK =
  "This server has no task about residues. Fine-tune one, on secondary structure for example, " +
  "and export it with the model.";
const MOST_CLASSES = 5; // of a task about the protein

/** Structure comes first, then conservation: what people look for. */
const rank = (task) => (isStructure(task.classes) ? 0 : isOrdinal(task.classes) ? 1 : 2);

/** Tasks about residues as tracks, those about the protein as small cards. */
export function showTracks(protein, answer) {
  const residues = answer.tasks
    .filter((task) => task.level === "residue")
    .sort((a, b) => rank(a) - rank(b));
  protein.tasks = residues;
  const ruler = new Ruler(protein.view, protein.sequence);
  const tracks = residues.map((task) => trackOf(protein.view, protein.sequence, task));
  protein.charts.push(ruler, ...tracks);
  const figures = tracks.map((track) => make("figure", {}, caption(track), track.element));
  const none = make("p", { className: "soft", textContent: NO_TASK });
  fill("tracks", [ruler.element, ...(figures.length ? figures : [none])],
    buttons(protein.name, "tracks", {
      parts: () => [["residues", ruler.base], ...tracks.map((t) => [label(t.task), t.base])],
      table: () => table(protein.sequence, residues),
      whole: () => answer,
    }));
  const wholes = answer.tasks.filter((task) => task.level === "sequence");
  document.getElementById("wholes").replaceChildren(...wholes.map(whole));
}

function whole(task) {
  const part = task.classes.length > MOST_CLASSES ? `, ${MOST_CLASSES} likeliest` : "";
  return make("article", { className: "card whole" },
    make("h3", { textContent: label(task) + part }),
    valueBars(task, task.values[0], MOST_CLASSES));
}

function caption(track) {
  const names = make("span", { className: "legend" });
  const draw = () => names.replaceChildren(...track.legend().map(([text, colour]) => {
    const swatch = make("i", { className: "swatch" });
    swatch.style.background = colour;
    return make("span", {}, swatch, text);
  }));
  draw();
  onThemeChange(draw, { signal: track.stop.signal });
  return make("figcaption", {}, make("b", { textContent: label(track.task) }), names);
}

function table(sequence, tasks) {
  const columns = tasks.flatMap((task) =>
    task.classes.length ? task.classes.map((c) => `${task.name}_${c}`) : [task.name]);
  return [
    ["position", "residue", ...columns],
    ...[...sequence].map((letter, i) => [i + 1, letter, ...tasks.flatMap((task) => task.values[i])]),
  ];
}

export function showContacts(protein, values) {
  const map = new ContactMap(protein.view, protein.sequence, values);
  protein.map = map;
  protein.charts.push(map);
  const { length } = protein.sequence;
  const pairs = function* () {
    for (let i = 0; i < length; i++) {
      for (let j = i + 1; j < length; j++) yield [i + 1, j + 1, map.probability(i, j).toFixed(4)];
    }
  };
  fill("contacts", [map.element, gradient(contactScale, "no contact", "contact", map)],
    buttons(protein.name, "contacts", {
      parts: () => [["probability of a contact", map.base]],
      table: () => [["i", "j", "probability"], ...pairs()],
      whole: () => ({ name: protein.name, sequence: protein.sequence, pairs: [...pairs()] }),
    }));
}

export function showScan(protein, scan) {
  const chart = new HeatMap(protein.view, scan);
  protein.scan = scan;
  protein.charts.push(chart);
  const order = [...ROWS].map((letter) => scan.amino_acids.indexOf(letter));
  fill("scan", [chart.element,
    gradient(effectScale, `−${chart.limit} less likely than the wild type`,
      `more likely +${chart.limit}`, chart)],
    buttons(protein.name, "mutation effects", {
      parts: () => [["log p(substitution) - log p(wild type)", chart.base]],
      table: () => [["position", "wild_type", ...ROWS],
        ...scan.effects.map((row, i) => [i + 1, scan.sequence[i], ...order.map((c) => row[c])])],
      whole: () => scan,
    }));
  return chart;
}

/** The scale of colours between its two ends in words. */
function gradient(scaleOf, low, high, chart) {
  const bar = make("span", { className: "gradient" });
  const draw = () => {
    const scale = scaleOf();
    const stops = Array.from({ length: 13 }, (_, i) => css(scale(i / 12)));
    bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  };
  draw();
  onThemeChange(draw, { signal: chart.stop.signal });
  return make("p", { className: "scale soft" }, make("span", { textContent: low }), bar,
    make("span", { textContent: high }));
}
