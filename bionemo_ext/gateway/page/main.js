// From what was pasted to what is shown: one protein at a time, its answers as they come.

import * as api from "./api.js";
import * as cards from "./cards.js";
import { EXAMPLES } from "./examples.js";
import { lengthOf, records } from "./fasta.js";
import { Inspector, make } from "./inspector.js";
import { Overview } from "./overview.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const STEPS = { tracks: "Tracks", contacts: "Contacts", scan: "Mutations" };

let models = [];
let protein = null; // what is shown
let asking = null; // ends the question that is not yet answered

// --- the form ---------------------------------------------------------------------------------

function chosenModel() {
  return models.find((model) => model.id === $("model").value) ?? models[0];
}

function showModels() {
  $("model").replaceChildren(...models.map(({ id }) => new Option(id, id)));
  $("model-field").hidden = models.length < 2;
  $("server").textContent = models.length ? `${chosenModel().id} is ready` : "the server has no model";
  $("server").classList.toggle("good", models.length > 0);
  showLimit();
}

function showLimit() {
  const model = chosenModel();
  if (model) $("limit").textContent = `At most ${model.max_residues.toLocaleString("en")} residues.`;
}

async function findModels() {
  try {
    const all = await api.models();
    // A model may have several names in paths; one is enough here.
    models = all.filter((model, i) => all.findIndex(({ root }) => root === model.root) === i);
    $("token-field").hidden = true;
    showModels();
  } catch (error) {
    $("server").textContent = "not connected";
    $("server").classList.remove("good");
    refuse(error);
    throw error;
  }
}

function readInput() {
  const found = records($("sequence").value);
  const before = $("record").selectedIndex;
  $("record").replaceChildren(...found.map(({ name }, i) => new Option(name, i)));
  $("record").selectedIndex = Math.min(Math.max(0, before), found.length - 1);
  $("record-field").hidden = found.length < 2;
  const record = found[$("record").selectedIndex];
  const count = record ? lengthOf(record) : 0;
  $("count").textContent = count ? `${count.toLocaleString("en")} residues` : "";
  return record ?? { name: "sequence", description: "", sequence: "" };
}

/** A sentence beside the field it is about. */
function refuse(error) {
  const needsToken = error.status === 401 || error.status === 403;
  if (needsToken) $("token-field").hidden = false;
  const field = needsToken ? $("token") : $("sequence");
  $("problem").textContent =
    error.status === 401 ? "This gateway asks for a token: type it into the field Token." : error.message;
  if (needsToken || error.status === 422) {
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
}

function accept() {
  $("problem").textContent = "";
  for (const id of ["sequence", "token"]) $(id).removeAttribute("aria-invalid");
}

// --- one protein ------------------------------------------------------------------------------

async function analyse() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const record = readInput();
  accept();
  $("ask").setAttribute("aria-busy", "true");
  try {
    if (!$("token-field").hidden) api.setToken($("token").value);
    if (!models.length) await findModels();
    const model = chosenModel();
    const ask = { name: record.name.slice(0, 200), sequence: record.sequence, model: model?.id };
    const began = performance.now();
    // The first answer says whether the sequence is good; until then what is shown stays.
    const answer = await api.tracks(ask, signal);
    open(record, answer, model);
    cards.showTracks(protein, answer);
    protein.inspector.later();
    step("tracks", "done", began);
    await Promise.all([contacts(protein), scan(protein)]);
  } catch (error) {
    if (error.name !== "AbortError") refuse(error);
  } finally {
    if (!signal.aborted) $("ask").removeAttribute("aria-busy");
  }
}

function open(record, answer, model) {
  protein?.stop.abort(); // what is still asked about it
  protein?.charts.forEach((chart) => chart.remove());
  const view = new View(answer.sequence.length);
  const overview = new Overview(view);
  protein = {
    name: record.name, sequence: answer.sequence, model, view, tasks: [], scan: null, map: null,
    charts: [overview], stop: new AbortController(), scanning: new AbortController(),
  };
  protein.inspector = new Inspector($("inspector"), protein);
  $("map").replaceChildren(overview.element);
  $("empty").hidden = true;
  $("results").hidden = false;
  $("name").textContent = record.name === "sequence" ? "Your protein" : record.name;
  document.title = `${$("name").textContent} · Protein view`;
  if ($("name").getBoundingClientRect().bottom > innerHeight) $("results").scrollIntoView();
  const words = record.description.slice(record.name.length).trim();
  $("facts").textContent = [words, `${view.length.toLocaleString("en")} residues`, `model ${model.id}`]
    .filter(Boolean).join(" · ");
  $("steps").replaceChildren(...Object.keys(STEPS).map((id) => make("li", { id: `step-${id}` })));
  Object.keys(STEPS).forEach((id) => step(id, "waiting"));
  const span = () => ($("span").textContent =
    `${Math.floor(view.from) + 1}–${Math.ceil(view.to)} of ${view.length}`);
  view.addEventListener("range", span);
  span();
  cards.wait("contacts");
  cards.wait("scan");
}

function step(id, state, began) {
  const seconds = began === undefined ? "" : ` ${((performance.now() - began) / 1000).toFixed(1)} s`;
  const words = { waiting: "waiting", running: "…", done: seconds, failed: "failed", none: "not served" };
  const item = $(`step-${id}`);
  item.className = state;
  item.textContent = `${STEPS[id]} ${words[state]}`;
}

const body = ({ name, sequence, model }) => ({ name, sequence, model: model.id });

async function part(of, id, served, absent, answer) {
  if (!served) {
    cards.hint(id, absent);
    step(id, "none");
    return;
  }
  cards.wait(id);
  step(id, "running");
  const began = performance.now();
  try {
    await answer();
    of.inspector.later();
    step(id, "done", began);
  } catch (error) {
    if (error.name === "AbortError") return;
    step(id, "failed");
    cards.fail(id, error.message, () => part(of, id, served, absent, answer));
  }
}

const contacts = (of) =>
  part(of, "contacts", of.model.contacts, "This model predicts no contacts.", async () =>
    cards.showContacts(of, await api.contacts(body(of), of.stop.signal)));

const scan = (of) =>
  part(of, "scan", of.model.mutation_effects, "This model scores no mutations.", async () => {
    of.scanning.abort(); // by the other method
    of.scanning = new AbortController();
    const signal = AbortSignal.any([of.stop.signal, of.scanning.signal]);
    const answer = await api.scan({ ...body(of), method: $("method").value }, signal);
    of.heat?.remove();
    of.heat = cards.showScan(of, answer);
  });

// --- what people do ---------------------------------------------------------------------------

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  analyse();
});
$("sequence").addEventListener("input", () => (accept(), readInput()));
$("sequence").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});
$("record").addEventListener("change", analyse);
$("model").addEventListener("change", () => (showModelName(), showLimit()));
$("method").addEventListener("change", () => protein && scan(protein));
$("zoom-in").addEventListener("click", () => protein.view.zoom(0.5));
$("zoom-out").addEventListener("click", () => protein.view.zoom(2));
$("zoom-all").addEventListener("click", () => protein.view.show(0, protein.view.length));

function showModelName() {
  $("server").textContent = `${chosenModel().id} is ready`;
}

for (const example of EXAMPLES) {
  const button = make("button", { type: "button", textContent: example.label });
  button.append(make("span", { className: "soft", textContent: ` ${example.sequence.length}` }));
  button.addEventListener("click", () => {
    $("sequence").value = `>${example.description}\n${example.sequence}\n`;
    analyse();
  });
  $("examples").append(button);
}

findModels().catch(() => {});
