// What was pasted, as records; the server judges the letters.

/** One record a header line; one called "sequence" where there is none. */
export function records(text) {
  const found = [];
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (line.startsWith(">")) {
      const description = line.slice(1).trim();
      const name = description.split(/\s/)[0] || `record ${found.length + 1}`;
      found.push({ name, description, sequence: "" });
    } else if (found.length) {
      found.at(-1).sequence += `${line}\n`;
    } else if (line.trim()) {
      found.push({ name: "sequence", description: "", sequence: `${line}\n` });
    }
  }
  return found;
}

/** Residues of a record, white space left out. */
export const lengthOf = (record) => record.sequence.replace(/[\s*]/g, "").length;
