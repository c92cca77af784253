"""The benchmark on FLIP's GB1 and on small sets: its table, what it uses again, what may fail."""

import csv
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from bionemo_ext.errors import ConfigError, DataError
from bionemo_ext.recipes.flip_benchmark import Benchmark, run_benchmark
from bionemo_ext.recipes.flip_benchmark.models import choose

FEW = ("training.epochs=2", "training.batch=8")


def proteins(count, letters="ACDEFGHIKLMNPQRSTVWY"):
    draw = np.random.default_rng(0)
    return ["".join(draw.choice(list(letters), draw.integers(15, 40))) for _ in range(count)]


@pytest.fixture
def charges(tmp_path):
    """A user's task: is the residue charged? Its file of settings."""
    folder = tmp_path / "charges"
    folder.mkdir()
    sets = ("SET=train VALIDATION=False", "SET=train VALIDATION=True", "SET=test")
    records = [(f"p{i}", protein, sets[i % 3]) for i, protein in enumerate(proteins(24))]
    letters = str.maketrans("ACDEFGHIKLMNPQRSTVWY", "NNCCNNCNCNNNNNCNNNNN")
    sequences = "".join(f">{name}\n{protein}\n" for name, protein, _ in records)
    labels = "".join(f">{name} {of}\n{p.translate(letters)}\n" for name, p, of in records)
    (folder / "sequences.fasta").write_text(sequences)
    (folder / "labels.fasta").write_text(labels)
    settings = tmp_path / "charges.yaml"
    settings.write_text(f"name: charges\nlevel: residue\ndata: {folder}\n")
    return settings


@pytest.fixture
def run(charges, tmp_path):
    """Run the benchmark of charges; give its report and what it told."""

    def benchmark(*models, tasks=(), overrides=FEW, seeds=2, **more):
        told = []
        asked = Benchmark(
            models, [str(charges), *tasks], tmp_path / "flip", tmp_path / "out", seeds,
            overrides=[*overrides, f"cache.folder={tmp_path / 'cache'}"], **more,
        )  # fmt: skip
        return run_benchmark(asked, tell=told.append), told

    return benchmark


def reused(told):
    return [line.endswith("from an earlier run") for line in told]


def test_gb1_as_published_and_measured(shared_data, command, tmp_path):
    done = command(
        "flip", "benchmark", "--tasks", "gb1", "--splits", "gb1=two_vs_rest,sampled", "--json",
        "--data", shared_data / "FLIP", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert table == json.loads((tmp_path / "out" / "table.json").read_text())
    rows = {(row["split"], row["model"], row["is_published"]): row for row in table["rows"]}
    assert len(rows) == 2 * 2 + 5

    def mean(split, model, metric, published=False):
        return rows[split, model, published]["scores"][metric]["mean"]

    assert rows["two_vs_rest", "one-hot", False]["metric"] == "spearman"
    assert mean("two_vs_rest", "one-hot", "spearman") > 0.55
    assert mean("sampled", "one-hot", "spearman") > 0.78
    assert mean("sampled", "one-hot", "mse") < 0.75
    assert mean("two_vs_rest", "mean predictor", "mse") == pytest.approx(1.57, abs=0.005)
    assert mean("sampled", "mean predictor", "mse") == pytest.approx(1.45, abs=0.006)
    assert mean("two_vs_rest", "ESM-2 650M", "mse", published=True) == 1.67
    # Published figures stand beside the split that they are of and no other.
    assert {key[0] for key in rows if key[2]} == {"two_vs_rest"}
    text = (tmp_path / "out" / "table.md").read_text()
    sampled = text.split("## gb1, split sampled")[1]
    assert "of the split two_vs_rest and cannot be compared" in sampled
    assert "(published)" not in sampled


def test_models_are_compared_with_their_spread(run, tiny_hf_folder, tmp_path):
    report, told = run("one-hot", "composition", f"tiny={tiny_hf_folder}")
    assert report.failures == []
    assert [row.model for row in report.rows] == [
        "majority predictor", "one-hot", "composition", "tiny",
    ]  # fmt: skip
    majority, one_hot, *_ = (row.scores["accuracy"] for row in report.rows)
    assert (len(majority.each), len(one_hot.each), len(told)) == (1, 2, 7)
    assert (majority.deviation, majority.spread) == (None, None)
    assert one_hot.mean == pytest.approx(np.mean(one_hot.each))
    assert one_hot.deviation == pytest.approx(np.std(one_hot.each, ddof=1))
    assert one_hot.spread == pytest.approx(np.ptp(one_hot.each))
    assert one_hot.interval[0] < one_hot.mean < one_hot.interval[1]
    out = tmp_path / "out"
    cell = out / "charges" / "as-marked" / "tiny" / "seed-1"
    names = ["metrics.jsonl", "predictions.parquet", "result.json", "test.png", "training.png"]
    assert sorted(path.name for path in cell.iterdir()) == names
    table = pq.read_table(cell / "predictions.parquet").to_pandas()
    accuracy = (table.truth == table.predicted).mean()
    assert accuracy == json.loads((cell / "result.json").read_text())["values"]["accuracy"]
    lines = list(csv.DictReader((out / "table.csv").open()))
    assert {line["model"] for line in lines if line["leads"] == "True"} == {
        row.model for row in report.rows
    }
    assert (out / "charges-as-marked.png").stat().st_size > 10_000
    assert not list(out.rglob("*.partial"))


def test_results_are_used_again_while_nothing_changes(run, charges, tiny_hf_folder, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(tiny_hf_folder, model)
    models = ("one-hot", f"tiny={model}")
    first, told = run(*models)
    assert reused(told) == [False] * 5
    again, told = run(*models)
    assert reused(told) == [True] * 5
    assert again == first
    # One seed more is one result more of each model that has seeds.
    _, told = run(*models, seeds=3)
    assert reused(told) == [True, True, True, False, True, True, False]
    # Other settings of the training are another result, but the constant predictor's is the same
    # only by value: its key has the settings too.
    _, told = run(*models, overrides=("training.epochs=1", "training.batch=8"))
    assert reused(told) == [False] * 5
    # Other weights under the same name.
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    _, told = run(*models, overrides=("training.epochs=1", "training.batch=8"))
    assert reused(told) == [True, True, True, False, False]
    # Another label.
    labels = charges.parent / "charges" / "labels.fasta"
    labels.write_text(labels.read_text().replace("NC", "CN", 1))
    _, told = run(*models, overrides=("training.epochs=1", "training.batch=8"))
    assert reused(told) == [False] * 5


def test_half_a_result_is_none(run, tmp_path):
    _, told = run("one-hot", seeds=1)
    cell = tmp_path / "out" / "charges" / "as-marked" / "one-hot" / "seed-0"
    result = cell / "result.json"
    whole = result.read_text()
    result.write_text(whole[: len(whole) // 2])
    # What a killed run leaves.
    cell.rename(cell.with_name(".seed-0.partial"))
    report, told = run("one-hot", seeds=1)
    assert reused(told) == [True, False]
    assert json.loads(result.read_text())["values"] == json.loads(whole)["values"]
    assert [path.name for path in cell.parent.iterdir()] == ["seed-0"]
    assert report.failures == []


def test_what_fails_does_not_lose_the_rest(run, tmp_path, tiny_hf_folder):
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: broken\nlevel: residue\ndata: nowhere\n")
    model = tmp_path / "model"
    shutil.copytree(tiny_hf_folder, model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    report, _ = run("one-hot", f"cut={model}", tasks=[broken], seeds=2)
    assert [row.model for row in report.rows] == ["majority predictor", "one-hot"]
    # The first seed tells of a model, and one sentence of a task.
    assert len(report.failures) == 2
    assert report.failures[0].startswith("charges as-marked, cut, seed 0: ")
    assert "model.safetensors" in report.failures[0]
    assert "nowhere" in report.failures[1]
    text = (tmp_path / "out" / "table.md").read_text()
    assert all(f"- {failure}" in text for failure in report.failures)


def test_a_failure_is_one_sentence_and_exit_code_1(command, charges, tmp_path):
    charges.write_text(charges.read_text().replace("charges\nlevel", "charges\nsplit: b\nlevel"))
    done = command("flip", "benchmark", "--tasks", charges, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    failed, ended = done.stderr.splitlines()
    assert failed.startswith("failed: charges b: ")
    assert "has no split 'b'; it has labels" in failed
    assert ended == "bionemo-ext: 1 of the benchmark's results could not be had"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"overrides": ["seed=1"]}, "seed=1: the benchmark sets seed itself"),
        ({"overrides": ["parallel.tensor=2"]}, "or has no use for it"),
        ({"overrides": ["precision=fp16"]}, "frozen embeds in fp32 or bf16"),
        ({"splits": {"gb1": ["sampled"]}}, "splits of 'gb1' are given, but the tasks are charges"),
        ({"tasks": ["gb1"], "splits": {"gb1": ["none"]}}, "FLIP's gb1 has no split 'none'"),
        ({"tasks": ["all"]}, "none of FLIP's tasks is in"),
    ],
)
def test_what_is_refused_before_anything_runs(run, tiny_hf_folder, tmp_path, more, told):
    with pytest.raises((ConfigError, DataError), match=told):
        run("one-hot", f"tiny={tiny_hf_folder}", **more)
    assert not (tmp_path / "out").exists()


def test_two_models_of_one_name(tiny_hf_folder):
    assert [model.name for model in choose([str(tiny_hf_folder)])] == ["constant", "model"]
    with pytest.raises(ConfigError, match="two models are called 'model'; NAME=DIR"):
        choose([str(tiny_hf_folder), f"model={tiny_hf_folder}"])
