// What a card shows, as a picture or a table.

import { ink } from "./palette.js";

const MARGIN = 16;

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Buttons PNG, CSV, JSON. parts() gives [caption, canvas] pairs, table() rows, whole() an object. */
export function buttons(name, what, { parts, table, whole }) {
  const group = document.createElement("div");
  group.className = "downloads";
  group.role = "group";
  group.ariaLabel = `Download ${what}`;
  const file = (ending) => `${name.replace(/[^\w.-]+/g, "_")}.${what.replaceAll(" ", "_")}.${ending}`;
  const kinds = {
    PNG: () => picture(parts(), name).toBlob((blob) => save(blob, file("png"))),
    CSV: () => save(new Blob([csv(table())], { type: "text/csv" }), file("csv")),
    JSON: () => save(new Blob([JSON.stringify(whole())], { type: "application/json" }), file("json")),
  };
  for (const [kind, action] of Object.entries(kinds)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = kind;
    button.ariaLabel = `Download ${what} as ${kind}`;
    button.addEventListener("click", action);
    group.append(button);
  }
  return group;
}

/** Canvases one below the other, each under its caption. */
function picture(parts, title) {
  const ratio = devicePixelRatio || 1;
  const line = 20 * ratio;
  const whole = document.createElement("canvas");
  whole.width = Math.max(...parts.map(([, canvas]) => canvas.width)) + 2 * MARGIN * ratio;
  whole.height =
    parts.reduce((sum, [, canvas]) => sum + canvas.height + 1.6 * line, 0) + 2 * MARGIN * ratio + line;
  const context = whole.getContext("2d");
  context.fillStyle = ink("--card");
  context.fillRect(0, 0, whole.width, whole.height);
  context.fillStyle = ink("--ink");
  context.font = `600 ${15 * ratio}px system-ui, sans-serif`;
  let y = MARGIN * ratio + line * 0.8;
  context.fillText(title, MARGIN * ratio, y);
  context.font = `${13 * ratio}px system-ui, sans-serif`;
  for (const [caption, canvas] of parts) {
    y += line * 1.3;
    context.fillText(caption, MARGIN * ratio, y);
    y += line * 0.3;
    context.drawImage(canvas, MARGIN * ratio, y);
    y += canvas.height;
  }
  return whole;
}

const quoted = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : value);
const csv = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
