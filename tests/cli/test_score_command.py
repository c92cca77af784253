"""``score`` with a model folder and no server: scans, and every method."""

import csv
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from bionemo_ext.contract import AMINO_ACIDS
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
    assert (
        "2 left out (wild type does not match: 1; there twice: 1); positions 101 to 127"
        in done.stdout
    )
    told = done.stderr.splitlines()
    assert told == [
        f"left out: {table}, line 3: variant 'A102W' has 'A' as wild type at position 102, the "
        "sequence has 'K'",
        f"left out: {table}, line 4: K102W is there twice; the first, of line 2, is taken",
    ]


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


def test_a_scan_with_everything_wrong_that_may_be(command, tiny_hf_folder, model, tmp_path):
    table, wild = tmp_path / "x.csv", tmp_path / "wild.fasta"
    rows = [
        "K2W,1", "K2W,5", "A2W,1", "M99W,1", "K2*,1", "k2r,2", "T3A,nan", "K2B,1", "A24,1",
        "24G,1", ",4", "T3C:V4A,3",
    ]  # fmt: skip
    table.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["mutant,target", *rows]).encode())
    wild.write_text(f">w\n{WILD}\n")
    words = ("score", table, "--offline", tiny_hf_folder, "--wildtype", wild, "--dms")
    words += ("--out", tmp_path / "out.json", "--top", 2, "--json")
    done = command(*words)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["variants"], found["left_out"], found["unmeasured"]) == (4, 8, 1)
    assert found["reasons"] == {
        "cannot be read": 2, "no amino acid": 2, "there twice": 1, "wild type does not match": 1,
        "position out of range": 1, "empty": 1,
    }  # fmt: skip
    assert found["metrics"]["spearman"]["value"] is not None
    told = done.stderr.splitlines()
    assert [line.split(",")[0] for line in told] == [f"left out: {table}"] * 8 + [
        f"not compared: {table}"
    ]
    assert told[-1].endswith("line 8: the measurement 'nan' is not a number; T3A is scored only")
    scores = json.loads((tmp_path / "out.json").read_text())["scores"]
    assert [row["mutant"] for row in scores] == ["K2W", "k2r", "T3A", "T3C:V4A"]
    assert [row["measured"] for row in scores] == [1, 2, None, 3]
    variants = parse_variants("K2W,K2R,T3A,T3C:V4A", WILD, "w")
    expected = score_variants(model, WILD, variants, Method.WILDTYPE)
    np.testing.assert_allclose([row["score"] for row in scores], expected, rtol=0, atol=1e-4)
    assert found["top"] == sorted(scores, key=lambda row: -row["score"])[:2]


@pytest.mark.parametrize("method", ["masked", "pll"])
def test_variants_that_do_not_fit_are_left_out_when_asked(
    command, tiny_hf_folder, model, tmp_path, method
):
    (tmp_path / "w.fasta").write_text(f">w\n{WILD}\n>short\nMKT\n")
    done = command(
        "score", tmp_path / "w.fasta", "--mutants", "K12W,A12W,T13G:V14C,K12*", "--offset", 10,
        "--method", method, "--offline", tiny_hf_folder, "--out", tmp_path / "out.csv",
        "--skip-bad", "--json",
    )  # fmt: skip
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["records"], found["skipped"]) == (2, 5)
    rows = read(tmp_path / "out.csv")
    assert [(row["name"], row["mutant"]) for row in rows] == [
        ("w", "K12W"), ("w", "T13G:V14C"), ("short", "K12W")
    ]  # fmt: skip
    variants = parse_variants("K2W,T3G:V4C", WILD, "w")
    expected = score_variants(model, WILD, variants, Method(method))
    scores = [float(row["score"]) for row in rows[:2]]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)
    assert (tmp_path / "out.skipped.tsv").read_text().splitlines()[:3] == [
        "name\treason",
        "w\tvariant 'A12W' of record 'w' has 'A' as wild type at position 12, the sequence has 'K'",
        "w\tvariant 'K12*' of record 'w' has '*' as mutant, which is not one of the 20 amino acids "
        "(ACDEFGHIKLMNPQRSTVWY)",
    ]


def test_whole_sequences_of_variants(command, tiny_hf_folder, model, tmp_path):
    texts = {"substituted": WILD[:3] + "W" + WILD[4:], "deleted": WILD[:9] + WILD[12:]}
    (tmp_path / "w.fasta").write_text(f">w\n{WILD}\n")
    (tmp_path / "v.fasta").write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    done = command(
        "score", tmp_path / "w.fasta", "--mutants", tmp_path / "v.fasta", "--method", "pll",
        "--offline", tiny_hf_folder, "--out", tmp_path / "out.csv", "--top", 1,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    expected = score_variants(model, WILD, list(texts.values()), Method.PLL)
    rows = read(tmp_path / "out.csv")
    assert [row["mutant"] for row in rows] == list(texts)
    np.testing.assert_allclose([float(row["score"]) for row in rows], expected, rtol=0, atol=1e-4)
    best = list(texts)[expected.argmax()]
    assert done.stdout.splitlines()[-1].split() == [best, f"{expected.max():.3f}"]


@pytest.mark.parametrize("method", ["wildtype", "masked"])
def test_variants_of_a_long_protein(command, tiny_hf_folder, model, tmp_path, method):
    wild = WILD * 45
    (tmp_path / "w.fasta").write_text(f">w\n{wild}\n>short\nMKT\n")
    last = f"{wild[-1]}{len(wild)}A"
    text = f"M1W,{last}" + (f",M1W:{last}" if method == "wildtype" else "")
    (tmp_path / "m.csv").write_text(
        "name,mutant\nshort,K2A\n" + "".join(f"w,{one}\n" for one in text.split(","))
    )
    done = command(
        "score", tmp_path / "w.fasta", "--mutants", tmp_path / "m.csv", "--method", method,
        "--offline", tiny_hf_folder, "--out", tmp_path / "out.csv",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    expected = score_variants(model, wild, parse_variants(text, wild, "w"), Method(method))
    found = [float(row["score"]) for row in read(tmp_path / "out.csv") if row["name"] == "w"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_a_run_that_was_killed_goes_on(command, tiny_hf_folder, model, tmp_path):
    """By a method without an endpoint; a part has 2,048 variants."""
    proteins = {f"p{shift}": WILD[shift:] + WILD[:shift] for shift in range(10)}
    fasta, listed, out = (tmp_path / name for name in ("w.fasta", "mutants.csv", "out.csv"))
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in proteins.items()))
    single = {
        name: [f"{old}{i}{new}" for i, old in enumerate(text, 1) for new in AMINO_ACIDS[::2]]
        for name, text in proteins.items()
    }
    lines = [f"{name},{mutant}" for name, mutants in single.items() for mutant in mutants]
    listed.write_text("name,mutant\n" + "\n".join(lines) + "\n")
    words = ("score", fasta, "--mutants", listed, "--method", "mutant", "--json")
    words += ("--offline", tiny_hf_folder, "--out", out)
    process = subprocess.Popen(
        [sys.executable, "-m", "bionemo_ext", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / ".out.csv.parts" / "00000000.arrow").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not out.exists()
    done = command(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["resumed"] >= 2048 // (10 * len(WILD))
    rows = read(out)
    assert [f"{row['name']},{row['mutant']}" for row in rows] == lines
    for name in ("p0", "p7", "p9"):  # before, at and after the end of the first part
        scores = [float(row["score"]) for row in rows if row["name"] == name]
        variants = parse_variants(",".join(single[name]), proteins[name], name)
        expected = score_variants(model, proteins[name], variants, Method.MUTANT)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)
    assert not (tmp_path / ".out.csv.parts").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["w.fasta"], "--mutants is needed"),
        (["w.fasta", "--mutants", "A1G", "--dms"], "are for scans, which end in .csv"),
        (["plain.csv", "--mutants", "A1G"], "a scan has its own mutants"),
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
