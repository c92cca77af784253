"""Figures of a data set, held to what can be counted by hand."""

from collections import Counter

import numpy as np
import pytest

from bionemo_ext.data.statistics import measure
from bionemo_ext.data.store import SequenceStore


def test_a_fasta_file(tmp_path):
    path = tmp_path / "x.fasta"
    path.write_text(">a\nMKT\n>b\nMMMMM\n>c\nGAV\n>d\n" + "W" * 2500)
    told = measure(path, crop=4)
    figures = told["sets"]["all"]
    assert (told["kind"], told["alphabet"]) == ("fasta", "ESM-2")
    assert (figures.sequences, figures.residues, figures.clusters) == (4, 2511, 4)
    assert figures.lengths == {
        "min": 3, "q1": 3, "median": 4, "q3": 628.75, "max": 2500, "mean": 627.75,
    }  # fmt: skip
    assert figures.tokens_per_epoch == (3 + 4 + 3 + 4) + 4 * 2
    assert figures.members == {"min": 1, "median": 1, "max": 1, "mean": 1}
    expected = {"W": 2500, "M": 6, "K": 1, "T": 1, "G": 1, "A": 1, "V": 1}
    assert figures.frequencies == pytest.approx({k: v / 2511 for k, v in expected.items()})
    assert (figures.histogram["counts"][0], figures.histogram["counts"][-1]) == (3, 1)
    assert sum(figures.histogram["counts"]) == 4


def test_a_store(small_store, small_uniref):
    folder, described = small_store
    told = measure(folder, crop=20)
    assert list(told["sets"]) == ["train", "validation"]
    train = told["sets"]["train"]
    held = set((folder / "validation_names.txt").read_text().split())
    clusters = {}
    for member, cluster in small_uniref.cluster_of.items():
        clusters.setdefault(cluster, []).append(small_uniref.sequences[member])
    for i in range(0, 60, 4):
        clusters[f"UniRef50_{i}"] = [small_uniref.sequences[f"UniRef50_{i}"]]
    clusters = [members for name, members in clusters.items() if name not in held]
    letters = Counter("".join("".join(members) for members in clusters))
    assert (train.sequences, train.clusters) == (sum(map(len, clusters)), len(clusters))
    assert train.residues == sum(letters.values()) == described["sets"]["train"]["residues"]
    shares = {letter: count / train.residues for letter, count in letters.items()}
    assert train.frequencies == pytest.approx(shares)
    assert train.members["max"] == 3
    assert train.members["mean"] == pytest.approx(np.mean([len(m) for m in clusters]), abs=1e-3)
    tokens = sum(np.mean([min(len(s), 20) + 2 for s in members]) for members in clusters)
    assert train.tokens_per_epoch == round(tokens)


def test_a_folder_is_one_set(tmp_path, shared_data):
    proteins = shared_data / "golden" / "some_proteins.fasta"
    for name in ("a.fasta", "b.fasta"):
        (tmp_path / name).write_bytes(proteins.read_bytes())
    figures = measure(tmp_path)["sets"]["all"]
    assert figures.sequences == 2 * len(SequenceStore.from_fasta(proteins))
