"""The committed demo data: whole, within the policy, and no protein's relative in two splits."""

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest

from bionemo_ext.demo import make_data
from bionemo_ext.demo.groups import similar_groups
from bionemo_ext.resources import resource
from bionemo_ext.sequences import clean_sequence, read_fasta

DATA = resource("demo/data")


def capsid_rows() -> list[dict[str, str]]:
    with (DATA / "capsid.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def accessibility_rows() -> list[dict[str, str]]:
    sequences = {r.name: r.sequence for r in read_fasta(DATA / "accessibility/sequences.fasta")}
    rows = []
    for record in read_fasta(DATA / "accessibility/labels.fasta"):
        attributes = dict(word.split("=") for word in record.description.split()[1:])
        rows.append(
            {
                "sequence": sequences.pop(record.name),
                "target": record.sequence,
                "set": attributes["SET"],
                "validation": attributes["VALIDATION"],
            }
        )
    assert not sequences, "a protein without labels"
    return rows


LABELLED = {"capsid": capsid_rows, "accessibility": accessibility_rows}


def splits_of(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["set"], row["validation"]) for row in rows]


def test_pretraining_proteins_are_whole_and_unalike():
    records = list(read_fasta(DATA / "uniprot.fasta.gz"))
    assert len(records) == 1500
    assert sum(len(record.sequence) for record in records) == 325_975
    assert all(50 <= len(record.sequence) <= 400 for record in records)
    groups = similar_groups([record.sequence for record in records])
    assert len(set(groups)) == len(records)


@pytest.mark.parametrize(
    ("name", "counts"), [("capsid", (700, 150, 150)), ("accessibility", (127, 28, 28))]
)
def test_labelled_sets_have_their_counts_and_pass_the_policy(name, counts):
    rows = LABELLED[name]()
    found = Counter(splits_of(rows))
    wanted = [("train", "False"), ("train", "True"), ("test", "False")]
    assert tuple(found[key] for key in wanted) == counts
    assert sum(found.values()) == sum(counts)
    for number, row in enumerate(rows):
        assert clean_sequence(row["sequence"], str(number)) == row["sequence"]
        assert len(row["sequence"]) <= 1022


@pytest.mark.parametrize("name", list(LABELLED))
def test_no_similar_proteins_in_two_splits(name):
    rows = LABELLED[name]()
    split_of_group: dict[int, tuple[str, str]] = {}
    groups = similar_groups([row["sequence"] for row in rows])
    for group, split in zip(groups, splits_of(rows), strict=True):
        assert split_of_group.setdefault(group, split) == split


def test_capsid_classes_are_balanced_in_every_split():
    classes = Counter((*split, row["target"]) for row, split in with_splits(capsid_rows()))
    assert {key[2] for key in classes} == {"capsid", "other"}
    for split in {key[:2] for key in classes}:
        share = classes[*split, "capsid"] / (classes[*split, "capsid"] + classes[*split, "other"])
        assert 0.4 < share < 0.6


def with_splits(rows):
    return list(zip(rows, splits_of(rows), strict=True))


def test_every_residue_has_a_label_and_neither_class_is_rare():
    rows = accessibility_rows()
    assert all(len(row["target"]) == len(row["sequence"]) for row in rows)
    letters = Counter("".join(row["target"] for row in rows))
    assert set(letters) == {"E", "B"}
    assert 0.4 < letters["E"] / letters.total() < 0.6


def test_licences_stand_beside_the_data_and_size_is_small():
    text = (DATA / "LICENSES.md").read_text()
    assert "CC BY 4.0" in text
    assert "BSD 3-Clause" in text
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 2_000_000


def test_similar_groups_follow_chains_and_leave_strangers_apart():
    first = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"
    half = first[35:] + "WWCHHWCYMNPWDDTHCCYWMPGFWKKHNCYTWWP"
    third = half[35:] + "GGNSTEEDVVLLAARRKKQQPPSSTTYYFFIIMMN"
    assert similar_groups([first, third, "ACDEFGHIKLMNPQRSTVWY" * 3, half]) == [0, 0, 2, 0]


def test_the_pretraining_file_is_made_again_byte_for_byte():
    source = Path(__file__).parents[2].parent / "shared/data/uniprot/uniprot_20k.fasta.gz"
    if not source.exists():
        pytest.skip("the 20,000 UniProt proteins are not beside the repository")
    with gzip.open(DATA / "uniprot.fasta.gz", "rt") as lines:
        assert lines.read() == make_data.pretraining_fasta(source)
