// Amino acids: names, and the order of the heat map's rows.

const NAMES = {
  A: "Ala", C: "Cys", D: "Asp", E: "Glu", F: "Phe", G: "Gly", H: "His", I: "Ile", K: "Lys", L: "Leu",
  M: "Met", N: "Asn", P: "Pro", Q: "Gln", R: "Arg", S: "Ser", T: "Thr", V: "Val", W: "Trp", Y: "Tyr",
  B: "Asx", Z: "Glx", X: "unknown", U: "Sec", O: "Pyl",
};

// By chemistry, as mutational scans are drawn: neighbours replace each other most easily.
export const GROUPS = [
  ["positive", "HKR"], ["negative", "DE"], ["polar", "CMNQST"], ["aliphatic", "AILV"],
  ["aromatic", "FWY"], ["special", "GP"],
];
export const ROWS = GROUPS.map(([, letters]) => letters).join("");

export const nameOf = (letter) => NAMES[letter] ?? letter;
export const groupOf = (letter) => GROUPS.find(([, letters]) => letters.includes(letter))?.[0] ?? "";

/** "Leu 57" for residue 56 of a sequence. */
export const title = (sequence, residue) => `${nameOf(sequence[residue])} ${residue + 1}`;

/** 52.31 or −2.31, with a minus sign that is as wide as a digit. */
export const plain = (value) => `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}`;

/** +2.31 or −2.31, for what is a difference. */
export const signed = (value) => `${value > 0 ? "+" : ""}${plain(value)}`;
