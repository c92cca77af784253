"""``score`` with a model folder and no server: scans, and every method."""

import csv
import json

import numpy as np
import pytest

from bionemo_ext.contract.variants import parse_variants
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.masked_model import EncoderLogits
from bionemo_ext.tasks.dms import read_scan
from bionemo_ext.tasks.ranking import ranking_scores
from bionemo_ext.tasks.variant_effects import Method, score_variants

WILD = "MKTVRQGACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="module")
def model(tiny_hf_folder):
    return EncoderLogits(Encoder.load(tiny_hf_folder))


@pytest.fixture
def scan_file(shared_data, tmp_path):
    """The first 40 variants of a real scan."""
    lines = (shared_data / "dms" / "IF1_ECOLI.csv").read_text().splitlines()[:41]
    (tmp_path / "IF1.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "IF1.csv"


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["masked", "pll"])
def test_a_scan(command, tiny_hf_folder, model, scan_file, tmp_path, method):
    out = tmp_path / "out.csv"
    done = command(
        "score", scan_file, "--offline", tiny_hf_folder, "--method", method, "--out", out,
        "--dms", "--json", "--picture", tmp_path / "x.png",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    scan = read_scan(scan_file)
    expected = score_variants(model, scan.wild, scan.variants, Method(method))
    rows = read(out)
    assert [row["mutant"] for row in rows] == list(scan.names)
    np.testing.assert_allclose([float(row["score"]) for row in rows], expected, rtol=0, atol=1e-4)
    found = json.loads(done.stdout)
    assert (found["variants"], found["left_out"]) == (40, 0)
    for name, value in ranking_scores(scan.measured, expected).items():
        metric = found["metrics"][name]
        assert metric["value"] == pytest.approx(value, abs=1e-3)
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_rows_that_are_left_out_are_told(command, tiny_hf_folder, tmp_path):
    table, wild = tmp_path / "x.csv", tmp_path / "wild.fasta"
    table.write_text("mutant,DMS_score\nK102W,1\nA102W,2\nK102W,3\nT103A:R105G,4\n")
    wild.write_text(f">w\n{WILD}\n")
    words = ("score", table, "--offline", tiny_hf_folder, "--wildtype", wild, "--offset", 100)
    done = command(*words, "--out", tmp_path / "out.json")
    assert done.returncode == 0
    assert [row["mutant"] for row in json.loads((tmp_path / "out.json").read_text())["scores"]] == [
        "K102W",
        "T103A:R105G",
    ]
    assert "2 variants by wildtype" in done.stdout
    assert "2 left out" in done.stdout
    told = done.stderr.splitlines()
    assert told[0].startswith(f"left out: {table}, line 3: variant 'A2W' of record 'wild type'")
    assert told[1] == f"left out: {table}, line 4: K102W is there twice; the first is taken"


@pytest.mark.parametrize("method", [method.value for method in Method])
def test_variants_of_a_fasta(command, tiny_hf_folder, model, tmp_path, method):
    (tmp_path / "w.fasta").write_text(f">w\n{WILD}\n")
    texts = ["M1W", "K2W:Y27C"]
    done = command(
        "score", tmp_path / "w.fasta", "--mutants", ",".join(texts), "--method", method,
        "--offline", tiny_hf_folder, "--out", tmp_path / "out.csv",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    expected = score_variants(
        model, WILD, parse_variants(",".join(texts), WILD, "w"), Method(method)
    )
    rows = read(tmp_path / "out.csv")
    assert [(row["name"], row["mutant"]) for row in rows] == [("w", text) for text in texts]
    np.testing.assert_allclose([float(row["score"]) for row in rows], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["w.fasta"], "--mutants is needed"),
        (["w.fasta", "--mutants", "A1G", "--dms"], "are for scans, which end in .csv"),
        (["w.fasta", "--mutants", "A1G"], "'A1G' of record 'w' has 'A' as wild type at position 1"),
        (["w.fasta", "--mutants", "A1G", "--method", "pll"], "has 'A' as wild type at position 1"),
        (["plain.csv", "--dms"], "does not tell the wild type"),
        (["plain.csv", "--picture", "nowhere/x.png"], "nowhere"),
        (["plain.csv", "--picture", "x.txt"], "x.txt"),
        (["bare.csv", "--dms"], "has no measurements (column target or DMS_score)"),
    ],
)
def test_what_cannot_be_scored(refusal, tiny_hf_folder, tmp_path, words, sentence):
    (tmp_path / "w.fasta").write_text(f">w\n{WILD}\n")
    (tmp_path / "plain.csv").write_text("mutant,target\nK2W,1\n")
    (tmp_path / "bare.csv").write_text(f"mutant,sequence\nK2W,{WILD[0]}W{WILD[2:]}\n")
    first = tmp_path / words[0]
    code, told = refusal(
        "score", first, *words[1:], "--offline", tiny_hf_folder, "--out", tmp_path / "out.csv"
    )
    assert code == 2
    assert sentence in told
    assert not (tmp_path / "out.csv").exists()


def test_a_server_or_a_model_is_needed(refusal, tmp_path):
    (tmp_path / "w.fasta").write_text(f">w\n{WILD}\n")
    code, told = refusal("scan", tmp_path / "w.fasta", "--out", tmp_path / "out.csv")
    assert (code, told) == (
        2, "a server (--url grpc://HOST:PORT) or a model folder (--offline DIR) is needed"
    )  # fmt: skip
