"""The real command on small sets with an answer that a head can find."""

import json
import subprocess
import sys

import numpy as np
import pytest

from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import load_task, predict


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "bionemo_ext", "finetune", *words],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def proteins(count, seed=0, letters="ACDEFGHIKLMNPQRSTVWY"):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(15, 40, count)
    return ["".join(draw.choice(list(letters), n)) for n in sizes]


def part(i):
    return ("test", "") if i % 5 == 0 else ("train", str(i % 5 == 1))


@pytest.fixture
def sequence_set(tmp_path):
    """Was the protein drawn from the oily residues or from the small ones?"""
    rows = ["sequence,target,set,validation"]
    oily, small = proteins(100, letters="LVIFMWAC"), proteins(100, letters="GSTNDPAC")
    for i, pair in enumerate(zip(oily, small, strict=True)):
        for protein, name in zip(pair, ("oily", "small"), strict=True):
            rows.append(",".join([protein, name, *part(i)]))
    (tmp_path / "set.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "set.csv"


@pytest.fixture
def residue_set(tmp_path):
    """Is the residue charged?"""
    folder = tmp_path / "residues"
    folder.mkdir()
    sequences, labels = [], []
    for i, protein in enumerate(proteins(120, seed=1)):
        where, validation = part(i)
        sequences.append(f">p{i}\n{protein}")
        letters = "".join("C" if residue in "DEKRH" else "N" for residue in protein)
        labels.append(f">p{i} SET={where} VALIDATION={validation}\n{letters}")
    (folder / "sequences.fasta").write_text("\n".join(sequences) + "\n")
    (folder / "labels.fasta").write_text("\n".join(labels) + "\n")
    return folder


def words(encoder, data, level, out, *more):
    return (
        f"encoder={encoder}", f"task.data={data}", f"task.level={level}", "task.name=check",
        f"out={out}", "training.batch=8", "training.lr=3e-3", "training.epochs=15", *more,
    )  # fmt: skip


def test_a_task_a_sequence(tiny_hf_folder, sequence_set, tmp_path):
    out = tmp_path / "task"
    done = command(*words(tiny_hf_folder, sequence_set, "sequence", out), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text())
    assert json.loads(done.stdout) == result
    assert result["classes"] == ["oily", "small"]
    assert result["counts"] == {"train": 120, "validation": 40, "test": 40}
    assert result["majority"]["accuracy"] == 0.5
    assert min(result["one_hot"]["accuracy"], result["test"]["accuracy"]) > 0.9
    spec, head = load_task(out)
    encoder = Encoder.load(tiny_hf_folder)
    assert spec.encoder_digest == encoder.digest
    assert predict(head, spec, encoder.encode(["MKTLLV"]))[0].sum() == pytest.approx(1, abs=1e-5)


def test_a_task_a_residue_is_learnt_and_repeats(tiny_hf_folder, residue_set, tmp_path):
    results = []
    for name in ("one", "two"):
        out = tmp_path / name
        done = command(*words(tiny_hf_folder, residue_set, "residue", out, "training.epochs=20"))
        assert done.returncode == 0, done.stderr
        results.append(json.loads((out / "result.json").read_text()))
    first, second = results
    assert first["test"]["accuracy"] > 0.9
    assert first["one_hot"]["accuracy"] > 0.95 > first["majority"]["accuracy"]
    assert first["test"] == second["test"]
    weights = [(tmp_path / n / "head.safetensors").read_bytes() for n in ("one", "two")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("test.\n", ""), ""),
        (("small,test", "strange,test"), "class 'strange', which no training example has"),
        (("oily", "small"), "all of the class"),
    ],
)
def test_bad_labels(tiny_hf_folder, sequence_set, tmp_path, change, told):
    if not told:
        sequence_set = tmp_path / "none.csv"
        told = "there is no data file or folder"
    else:
        sequence_set.write_text(sequence_set.read_text().replace(*change))
    done = command(*words(tiny_hf_folder, sequence_set, "sequence", tmp_path / "task"))
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_regression_targets_must_be_numbers(tiny_hf_folder, sequence_set, tmp_path):
    more = "task.kind=regression"
    done = command(*words(tiny_hf_folder, sequence_set, "sequence", tmp_path / "task", more))
    assert done.returncode == 2
    assert "set.csv line 6 has the target" in done.stderr
