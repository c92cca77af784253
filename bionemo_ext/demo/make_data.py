"""How the files in ``bionemo_ext/demo/data`` were made; run again, it writes the same bytes.

The inputs are ``uniprot_20k.fasta.gz`` (20,000 UniProt proteins from the Debian package
mmseqs2-examples) and the folder ``aaanalysis/_data/benchmarks`` of the ``aaanalysis`` 1.1.0 wheel::

    pip download --no-deps aaanalysis==1.1.0 && unzip aaanalysis-1.1.0-*.whl -d wheel
    python -m bionemo_ext.demo.make_data uniprot_20k.fasta.gz wheel/aaanalysis/_data/benchmarks

``data/LICENSES.md`` tells what is in each file.
"""

import argparse
import csv
import gzip
import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from bionemo_ext.demo.groups import similar_groups
from bionemo_ext.sequences import read_fasta

SEED = 2026
_STANDARD = frozenset("ACDEFGHIKLMNPQRSTVWY")
_PRETRAINING = 1500
_CAPSID = 1000
# Parts of the proteins that go to each split, in the order train, validation, test.
_SPLITS = (("train", 0.7), ("validation", 0.15), ("test", 0.15))

Row = dict[str, str]


def pretraining_fasta(source: Path, count: int = _PRETRAINING) -> str:
    """Sample proteins of 50 to 400 residues, one of each group of similar ones, as FASTA text."""
    records = [record for record in read_fasta(source) if 50 <= len(record.sequence) <= 400]
    sample = random.Random(SEED).sample(records, 2 * count)  # noqa: S311
    groups = similar_groups([record.sequence for record in sample])
    kept = [record for i, record in enumerate(sample) if groups[i] == i][:count]
    return "".join(f">{r.description.strip()}\n{r.sequence}\n" for r in kept)


def capsid_csv(benchmarks: Path, count: int = _CAPSID) -> str:
    """Half capsid, half other viral proteins of 50 to 400 residues, in FLIP's CSV form."""
    by_class: dict[str, list[Row]] = {"1": [], "0": []}
    for row in _rows(benchmarks / "SEQ_CAPSID.tsv", 50, 400):
        by_class[row["label"]].append(row)
    chosen = [
        row
        for rows in by_class.values()
        for row in random.Random(SEED).sample(rows, count // 2)  # noqa: S311
    ]
    random.Random(SEED).shuffle(chosen)  # noqa: S311
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sequence", "target", "set", "validation"])
    for row, split in zip(chosen, _split([row["sequence"] for row in chosen]), strict=True):
        target = "capsid" if row["label"] == "1" else "other"
        writer.writerow([row["sequence"], target, *_flip_set(split)])
    return text.getvalue()


def accessibility_fastas(benchmarks: Path) -> tuple[str, str]:
    """Proteins of 30 to 1022 residues and a letter a residue, in FLIP's pair of FASTA files.

    ``E`` is exposed to the solvent, ``B`` is buried.
    """
    rows = list(_rows(benchmarks / "AA_SA.tsv", 30, 1022))
    sequences, labels = [], []
    for row, split in zip(rows, _split([row["sequence"] for row in rows]), strict=True):
        part, validation = _flip_set(split)
        letters = "".join("E" if digit == "1" else "B" for digit in row["label"].split(","))
        sequences.append(f">{row['entry']}\n{row['sequence']}\n")
        labels.append(f">{row['entry']} SET={part} VALIDATION={validation}\n{letters}\n")
    return "".join(sequences), "".join(labels)


def _rows(path: Path, shortest: int, longest: int) -> Iterator[Row]:
    """Rows of a table whose sequence is new, standard amino acids only and of a fitting length."""
    seen: set[str] = set()
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            sequence = row["sequence"]
            fits = shortest <= len(sequence) <= longest and _STANDARD.issuperset(sequence)
            if fits and sequence not in seen:
                seen.add(sequence)
                yield row


def _split(sequences: Sequence[str]) -> list[str]:
    """Draw a split for each group of similar proteins, always for the emptiest split first."""
    groups = similar_groups(sequences)
    order = sorted(set(groups))
    random.Random(SEED).shuffle(order)  # noqa: S311
    order.sort(key=groups.count, reverse=True)  # large groups first, or they overfill a split
    filled = dict.fromkeys((name for name, _ in _SPLITS), 0)
    chosen: dict[int, str] = {}
    for group in order:
        chosen[group] = min(_SPLITS, key=lambda split: filled[split[0]] / split[1])[0]
        filled[chosen[group]] += groups.count(group)
    return [chosen[group] for group in groups]


def _flip_set(split: str) -> tuple[str, str]:
    """FLIP's two columns: a validation protein is a training one that is set aside."""
    return ("test" if split == "test" else "train"), str(split == "validation")


def write_all(uniprot: Path, benchmarks: Path, out: Path) -> None:
    """Write the three data sets to ``out``."""
    (out / "accessibility").mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(pretraining_fasta(uniprot).encode(), mtime=0)
    (out / "uniprot.fasta.gz").write_bytes(packed)
    (out / "capsid.csv").write_text(capsid_csv(benchmarks))
    sequences, labels = accessibility_fastas(benchmarks)
    (out / "accessibility" / "sequences.fasta").write_text(sequences)
    (out / "accessibility" / "labels.fasta").write_text(labels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uniprot", type=Path, help="uniprot_20k.fasta.gz")
    parser.add_argument("benchmarks", type=Path, help="folder with SEQ_CAPSID.tsv and AA_SA.tsv")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    words = parser.parse_args()
    write_all(words.uniprot, words.benchmarks, words.out)
