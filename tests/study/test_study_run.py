"""``bionemo-ext study`` on real deep mutational scans, as a user runs it."""

import csv
import json
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest

METHODS = "mean,pca1,idct1"
SETS = ("IF1_ECOLI", "SUMO1_HUMAN_Roth2017")


@pytest.fixture(scope="module")
def scans(shared_data, tmp_path_factory):
    """Sixty variants of each of two scans."""
    folder = tmp_path_factory.mktemp("scans")
    for name in SETS:
        table = pd.read_csv(shared_data / "dms" / f"{name}.csv")
        table.sample(60, random_state=0).to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def words(scans, tiny_hf_folder):
    return [
        "study", scans, "--models", f"tiny={tiny_hf_folder},composition", "--methods", METHODS,
        "--sample-sizes", "30", "--workers", 1,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def done(command, words, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    ran = command(*words, "--out", out)
    # Synonymous mutants are the wild type, measured several times.
    told = "rows repeat a protein; each protein counts once, with the mean of its targets"
    assert ran.returncode == 0
    assert ran.stderr.splitlines() == [
        f"{SETS[0]}: 2 of 60 {told}", f"{SETS[1]}: 1 of 60 {told}"
    ]  # fmt: skip
    return out, ran.stdout


def test_every_fold_is_there(done):
    out, printed = done
    table = pd.read_parquet(out / "results.parquet")
    assert len(table) == 2 * 2 * 3 * 2 * 5  # models, data sets, methods, samples, folds
    assert set(table["sample"]) == {0, 30}
    # Distinct proteins: 58 and 59.
    learned = table[table["sample"] == 0].groupby("dataset")["train_rows"]
    assert {name: set(rows) for name, rows in learned} == {SETS[0]: {46, 47}, SETS[1]: {47, 48}}
    assert np.isfinite(table["r2_test"]).all()
    assert {"r2_by_compression.png", "r2_by_model.svg", "r2_by_sample_size.png"} <= {
        path.name for path in out.iterdir()
    }
    report = (out / "report.md").read_text()
    assert printed == f"{report}\ntables and figures: {out}\n"
    assert "reference mean" in report or "reference pca1" in report or "reference idct1" in report


def test_models_stand_beside_their_cost(done, tiny_hf_folder):
    from safetensors import safe_open

    with safe_open(tiny_hf_folder / "model.safetensors", "np") as file:
        size = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
    table = pd.read_csv(done[0] / "models.csv", index_col="model")
    assert table.loc["composition", "parameters"] == 0
    assert table.loc["tiny", "parameters"] == pytest.approx(size, rel=0.1)  # no contact head
    assert (table["residues_per_s"] > 0).all()
    assert (table["peak_mib"] > 20).all()


def test_what_is_done_is_not_done_again(command, words, done):
    out, printed = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("folds/**/*.parquet")}
    assert len(before) == 24
    again = command(*words, "--out", out)
    assert (again.returncode, again.stdout) == (0, printed)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_study_that_was_killed_goes_on(command, words, done, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "bionemo_ext", *map(str, words), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("folds/*/*/*.parquet"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    workers = [child for child in psutil.Process(process.pid).children() if child.is_running()]
    assert workers
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(workers, timeout=20)
    assert not left, "workers compute on after the study was killed"
    kept = {path: path.stat().st_mtime_ns for path in out.glob("folds/*/*/*.parquet")}
    assert 3 <= len(kept) < 24
    ran = command(*words, "--out", out)
    assert ran.returncode == 0
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    columns = ["model", "dataset", "method", "sample", "fold"]
    found, expected = (
        pd.read_parquet(folder / "results.parquet").sort_values(columns, ignore_index=True)
        for folder in (out, done[0])
    )
    pd.testing.assert_frame_equal(found, expected)


def test_random_features_tell_of_no_leak(command, scans, tmp_path):
    ran = command(
        "study", scans, "--models", "random", "--methods", "mean,max,cls", "--json",
        "--out", tmp_path / "out", "--workers", 1,
    )  # fmt: skip
    assert ran.returncode == 0
    (row,) = json.loads(ran.stdout)["models"]
    assert row["r2"] < 1.96 * row["error"]


def test_bad_data_does_not_lose_the_rest(command, scans, tmp_path):
    folder = tmp_path / "sets"
    folder.mkdir()
    with (scans / "IF1_ECOLI.csv").open() as file:
        rows = list(csv.DictReader(file))
    odd = [dict(row) for row in rows]
    odd[3]["sequence"] = "MKT1"
    odd[5]["target"] = "n/a"
    odd[7]["sequence"] = "M" * 1023
    few, constant = rows[:5], [{**row, "target": "2.5"} for row in rows]
    renamed = [{"protein": row["sequence"], "target": row["target"]} for row in rows]
    for name, table in {
        "constant": constant, "few": few, "odd": odd, "renamed": renamed
    }.items():  # fmt: skip
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    for name, text in {
        "empty": "", "fasta": ">a\nMKT\n", "text": "sequence,target\n" + "MKT,high\n" * 30
    }.items():  # fmt: skip
        (folder / f"{name}.csv").write_text(text)
    words = ["--models", "composition", "--methods", "mean,cls", "--workers", 1]
    ran = command("study", folder, *words, "--json", "--out", tmp_path / "out")
    assert ran.returncode == 1
    needed = "a CSV file with the column sequence or mutated_sequence and target or DMS_score is "
    enough = "proteins that can be used, and five folds of five need at least 25"
    failures = [
        f"{folder / 'constant.csv'} has the target 2.5 in every row; there is nothing to learn",
        f"{folder / 'empty.csv'} is empty; {needed}needed",
        f"{folder / 'fasta.csv'} is a FASTA file; {needed}needed",
        f"{folder / 'few.csv'} has 5 {enough}",
        f"{folder / 'renamed.csv'} has no column sequence or mutated_sequence; it has "
        "protein, target",
        f"{folder / 'text.csv'} has 0 {enough}; the first that was left out: "
        f"{folder / 'text.csv'}, line 2: the target 'high' is not a number",
    ]
    found = json.loads(ran.stdout)
    assert found["failures"] == failures
    assert found["datasets"] == {
        "odd": {
            "rows": 57,
            "left_out": 3,
            "reasons": {"no protein sequence": 1, "no number": 1, "too long": 1},
            "repeated": 2,
        }
    }
    assert ran.stderr.splitlines() == [
        "odd: 57 rows, 3 left out (no protein sequence: 1; no number: 1; too long: 1); the first: "
        f"{folder / 'odd.csv'}, line 5: the sequence has '1' at position 4, which is not in the "
        "ESM-2 alphabet (LAGVSERTIDPKQNFYMHWCXBUZO.-)",
        "odd: 2 of 57 rows repeat a protein; each protein counts once, with the mean of its "
        "targets",
        *(f"left out: {failure}" for failure in failures),
        "bionemo-ext: 6 of the data sets could not be used",
    ]
    assert set(pd.read_parquet(tmp_path / "out" / "results.parquet")["dataset"]) == {"odd"}


def test_targets_that_follow_from_the_sequence(command, shared_data, tmp_path):
    proteins = shared_data / "golden" / "some_proteins.fasta"
    text = "".join(
        f">{i}\n{'ACDEFGHIKLMNPQRSTVWY'[i % 20] * (1 + i % 7)}MKTVRQGERLK\n" for i in range(60)
    )
    (tmp_path / "many.fasta").write_text(text + proteins.read_text())
    ran = command(
        "study", tmp_path / "many.fasta", "--computed", "--models", "composition", "--methods",
        "mean", "--regressors", "ridge", "--out", tmp_path / "out", "--workers", 1,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    table = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert {"many-charge", "many-isoelectric_point", "many-share_of_W"} <= set(table["dataset"])
    scores = table.groupby("dataset")["r2_test"].mean()
    # Shares of amino acids are the features themselves, and hydrophobicity is linear in them.
    assert scores["many-share_of_W"] > 0.99
    assert scores["many-hydrophobicity"] > 0.99


def test_two_files_of_one_name(refusal, scans, tmp_path):
    other = tmp_path / f"{SETS[0]}.csv"
    other.write_text("sequence,target\n")
    words = ("--models", "composition", "--out", tmp_path / "out")
    code, told = refusal("study", scans, other, *words)
    assert (code, told) == (
        2,
        f"{scans / other.name} and {other} would both be the data set {SETS[0]}; rename one of "
        "them",
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--models", "nowhere"], "nowhere is not a Hugging Face folder"),
        (["--methods", "median"], "--methods 'median' is none of mean, max, cls, pca1"),
        (["--regressors", "svm"], "--regressors 'svm' is none of lasso, ridge, knn"),
        (["--sample-sizes", "few"], "--sample-sizes few is not a whole number from 10"),
        (["--models", "composition,composition"], "two models are called composition"),
        (["--layer", "7"], "has no layer 7; there are 0 (before the first) to 2"),
    ],
)
def test_wrong_options(refusal, scans, tiny_hf_folder, tmp_path, options, sentence):
    words = ["study", scans, "--models", tiny_hf_folder, "--out", tmp_path / "out"]
    code, told = refusal(*words, *options)
    assert code == 2
    assert sentence in told
    assert not (tmp_path / "out").exists()
