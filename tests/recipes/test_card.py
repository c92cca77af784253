"""A model card tells what its run's files hold, says what is not known, and can be made again."""

import json
import math
import re
import shutil
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import CheckpointError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, save_task
from bionemo_ext.recipes.card import card_folder, describe, record_run, write_card
from bionemo_ext.recipes.card.curve import sparkline
from bionemo_ext.recipes.card.tasks import bonett_wright, wilson

SETTINGS = {
    "model": {"name": "tiny", "family": "esm2", "layers": 2, "hidden": 64, "heads": 4},
    "data": {
        "train": "/secret/place/proteins.fasta", "validation": None, "validation_fraction": 0.05,
        "max_residues": 500, "crop": "random", "workers": 0,
    },
    "parallel": {"devices": 4, "nodes": 2, "tensor": 2, "pipeline": 2, "sequence": True},
    "optimizer": {
        "schedule": "cosine", "lr": 4e-4, "min_lr": 4e-5, "warmup_steps": 20, "decay_steps": 900,
        "betas": [0.9, 0.98], "eps": 1e-8, "weight_decay": 0.01, "clip": 1.0,
    },
    "precision": {"arithmetic": "bf16", "fp8": "delayed"},
    "init": "/secret/place/before", "packing": True, "steps": 1000, "micro_batch": 4,
    "global_batch": 2048, "seed": 42, "out": "/secret/place/run",
}  # fmt: skip


@pytest.fixture
def run(tmp_path, tiny_hf_folder):
    """A run's folder after its export: 100 of 1,000 steps, validated every 10."""
    run = tmp_path / "runs" / "tiny"
    (run / "checkpoints" / "step-00000100").mkdir(parents=True)
    (run / "run.yaml").write_text(yaml.safe_dump(SETTINGS))
    rows = []
    for step in range(1, 101):
        row = {"step": step, "loss": 3 - step / 100, "tokens": 1234 * step, "seconds": 2.5 * step}
        rows.append({**row, "tokens_per_s": 5000.0, "mfu": 0.41})
        if step % 10 == 0:
            loss = 2.9 - step / 200 + (0.3 if step > 80 else 0)
            rows.append({"step": step, "val_loss": loss, "val_perplexity": math.exp(loss)})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(tiny_hf_folder, run / "huggingface")
    return run


def front_matter(text):
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(found[1])


def cells(text):
    """Rows of all tables by their first cell."""
    rows = [re.split(r" \| ", line.strip("| \n")) for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def test_a_card_tells_what_the_run_holds(run):
    record_run(run, 8, {"train": {"sequences": 19_000, "residues": 6_000_000}})
    path = write_card(run / "huggingface")
    assert path == run / "huggingface" / "MODEL_CARD.md"
    text = path.read_text()
    matter = front_matter(text)
    assert matter["license"] == "apache-2.0"
    assert matter["library_name"] == "transformers"
    assert {"esm2", "protein"} <= set(matter["tags"])
    rows = cells(text)
    assert "# tiny" in text
    assert "after step 100" in text
    assert rows["parameters"] == ["106,538"]
    assert rows["training data"] == ["proteins.fasta"]
    assert rows["train set"] == ["19,000 sequences, 6,000,000 residues"]
    assert rows["longer sequences are cropped"] == ["at random"]
    assert rows["release"] == ["not known"]
    assert "betas [0.9, 0.98]" in rows["optimizer"][0]
    assert "20 steps of warm-up to 0.0004, cosine to 4e-05 at step 900" in rows["learning rate"]
    assert "2,048 sequences a step, packed" in rows["batch"][0]
    assert rows["started from"] == ["before"]
    assert rows["precision"] == ["bf16, FP8 delayed"]
    layout = "8 devices: tensor parallel 2, pipeline parallel 2, data parallel 2, sequence parallel"
    assert rows["layout"] == [layout]
    assert rows["hardware"][0].startswith("8 x ")
    assert "torch 2" in rows["software"][0]
    assert rows["steps"] == ["100 of 1,000"]
    assert rows["tokens seen"] == ["123,400"]
    assert rows["time"] == ["250.0 s"]
    assert rows["model FLOPs utilisation, median"] == ["41.0%"]
    assert rows["80"] == ["98,720", "2.5000", "12.182"]
    assert "Lowest: 2.5000, perplexity 12.18, at step 80." in text
    assert "1 to 1,022 residues" in text
    assert "at most 500 residues" in text
    assert "validation figures are optimistic" in text
    assert "CC BY 4.0" in text
    assert "Contact probabilities" in text
    assert "/secret" not in text + (run / "huggingface" / "card.json").read_text()


def test_the_plot_shows_where_matplotlib_is_and_a_line_of_text_where_not(run, monkeypatch):
    text = write_card(run / "huggingface").read_text()
    assert "](validation.png)" in text
    assert (run / "huggingface" / "validation.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = write_card(run / "huggingface").read_text()
    assert "validation.png" not in text
    assert re.search(r"`[▁▂▃▄▅▆▇█]{10}`", text)


def test_what_is_not_known_is_said_and_not_invented(tmp_path, tiny_hf_folder):
    folder = tmp_path / "model"
    shutil.copytree(tiny_hf_folder, folder)
    text = write_card(folder).read_text()
    assert front_matter(text)["license"] == "unknown"
    for sentence in (
        "Where the weights come from is not known.",
        "What the model was trained on is not known.",
        "How the model was trained is not known.",
        "The validation loss is not known.",
        "Results on tasks are not known",
    ):
        assert sentence in text
    assert "optimistic" not in text


def test_a_run_without_its_record_says_that_hardware_and_counts_are_not_known(run):
    (run / "metrics.jsonl").unlink()
    rows = cells(write_card(run / "huggingface").read_text())
    for key in ("hardware", "software", "steps", "tokens seen", "time", "counts"):
        assert rows[key] == ["not known"]


def test_a_store_tells_release_counts_and_sources(run, tmp_path):
    store = tmp_path / "uniref"
    store.mkdir()
    described = {
        "kind": "uniref", "release": "2021_04", "sets": {"train": {"clusters": 7, "sequences": 9}},
        "sources": [{"role": "UniRef50", "path": "/secret/u50.fasta", "sha256": "ab12"}],
        "neighbours": {"search": "members"},
    }  # fmt: skip
    (store / "store.json").write_text(json.dumps(described))
    settings = {**SETTINGS, "data": {**SETTINGS["data"], "train": str(store)}}
    (run / "run.yaml").write_text(yaml.safe_dump(settings))
    text = write_card(run / "huggingface").read_text()
    rows = cells(text)
    assert rows["release"] == ["2021_04"]
    assert rows["train set"] == ["7 clusters, 9 sequences"]
    assert rows["source: UniRef50"] == ["path u50.fasta, sha256 ab12"]
    assert "neighbours removed by: members" in rows["validation"][0]
    assert "optimistic" not in text
    assert "/secret" not in text


def save_result(folder, model, *, level="sequence", metric="accuracy", value=0.9, **more):
    encoder = Encoder.load(model)
    spec = TaskSpec(
        folder.name, Level(level), Kind.CLASSIFICATION, ("a", "b"),
        HeadKind.MLP if level == "sequence" else HeadKind.CONVOLUTION, 64, 8,
        encoder_digest=encoder.digest,
    )  # fmt: skip
    save_task(folder, spec, Head(spec))
    result = {
        "task": folder.name, "level": level, "metric": metric, "test": {metric: value},
        "one_hot": {metric: 0.7}, "majority": {metric: 0.5}, "counts": {"test": 100}, **more,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


def test_tasks_beside_the_run_are_told_with_their_intervals(run):
    model = run / "huggingface"
    save_result(run.parent / "capsid", model)
    save_result(run.parent / "structure", model, level="residue")
    save_result(run / "tasks" / "own", model, intervals={"accuracy": [0.85, 0.95]})
    save_result(run.parent / "elsewhere", model)
    spec = json.loads((run.parent / "elsewhere" / "task.json").read_text())
    (run.parent / "elsewhere" / "task.json").write_text(
        json.dumps({**spec, "encoder_digest": "of another encoder"})
    )
    rows = cells(write_card(model).read_text())
    assert rows["capsid"] == [
        *("sequence", "accuracy", "0.900", "0.826 to 0.945"),
        *("one-hot 0.700, majority 0.500", "100"),
    ]
    assert rows["structure"][3] == "not measured"
    assert rows["own"][3] == "0.850 to 0.950"
    assert "elsewhere" not in rows


def test_a_moved_folder_makes_the_same_card_again(run, tmp_path, command):
    text = write_card(run / "huggingface").read_text()
    shutil.copytree(run / "huggingface", tmp_path / "moved" / "huggingface")
    shutil.rmtree(run)
    moved = tmp_path / "moved" / "huggingface"
    (moved / "MODEL_CARD.md").unlink()
    (moved / "validation.png").unlink()
    done = command("card", tmp_path / "moved")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {moved / 'MODEL_CARD.md'}\n"
    assert (moved / "MODEL_CARD.md").read_text() == text
    assert (moved / "validation.png").is_file()
    assert not list(moved.glob(".*"))


def test_a_run_that_went_on_keeps_the_card_of_its_exported_weights(run):
    write_card(run / "huggingface", run)
    (run / "checkpoints" / "step-00000200").mkdir()
    assert "after step 100" in write_card(run / "huggingface").read_text()
    assert "after step 200" in write_card(run / "huggingface", run).read_text()


def test_the_card_of_an_earlier_checkpoint_ends_where_it_does(run):
    rows = cells(write_card(run / "huggingface", run, step=50).read_text())
    assert rows["steps"] == ["50 of 1,000"]
    assert rows["tokens seen"] == ["61,700"]
    assert rows["last training loss"] == ["2.5000"]


def test_convert_carries_the_card(run, tmp_path):
    from bionemo_ext.recipes.conversion import Form, convert

    text = write_card(run / "huggingface").read_text()
    convert(run / "huggingface", tmp_path / "nemo", Form.NEMO)
    convert(tmp_path / "nemo", tmp_path / "back", Form.HUGGINGFACE)
    assert (tmp_path / "back" / "MODEL_CARD.md").read_text() == text
    convert(tmp_path / "back", tmp_path / "esm2_x.pt", Form.FAIR_ESM)
    convert(tmp_path / "esm2_x.pt", tmp_path / "again", Form.HUGGINGFACE)
    text = (tmp_path / "again" / "MODEL_CARD.md").read_text()
    assert "The weights come from `esm2_x.pt`." in text
    assert front_matter(text)["license"] == "unknown"


def test_a_published_model_has_its_own_licence(tmp_path, tiny_hf_folder):
    folder = tmp_path / "model"
    shutil.copytree(tiny_hf_folder, folder)
    text = describe(folder, tiny_hf_folder, "facebook/esm2_t6_8M_UR50D").read_text()
    assert front_matter(text)["license"] == "mit"
    assert "# facebook/esm2_t6_8M_UR50D" in text
    assert "CC BY" not in text


@pytest.mark.parametrize("source", ["", "checkpoints/step-00000100", "huggingface"])
def test_every_part_of_a_run_is_described_by_it(run, tmp_path, source):
    shutil.copytree(run / "huggingface", tmp_path / "model")
    assert (
        "a pretraining run after step 100" in describe(tmp_path / "model", run / source).read_text()
    )


def test_converting_into_a_run_does_not_take_its_card(run, tmp_path, tiny_hf_folder):
    from bionemo_ext.recipes.conversion import Form, convert

    convert(tiny_hf_folder, run / "foreign", Form.HUGGINGFACE)
    card = run / "foreign" / "MODEL_CARD.md"
    assert "What the model was trained on is not known" in card.read_text()
    (run / "foreign" / "card.json").unlink()
    write_card(run / "foreign")
    assert "What the model was trained on is not known" in card.read_text()


def test_wrong_folders_are_one_sentence(run, tmp_path, refusal):
    code, sentence = refusal("card", tmp_path)
    assert (code, "is neither a run's folder nor an exported model" in sentence) == (2, True)
    shutil.rmtree(run / "huggingface")
    with pytest.raises(CheckpointError, match="has no exported model yet"):
        card_folder(run)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not of an ESM-2 or ESM-1nv model"):
        write_card(tmp_path / "model")
    (tmp_path / "model" / "card.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"card\.json is not JSON"):
        write_card(tmp_path / "model")


def test_long_curves_are_thinned_but_keep_first_last_and_best(run):
    rows = [
        {"step": i, "val_loss": 1 + abs(i - 77) / 100, "val_perplexity": 3.0 + abs(i - 77)}
        for i in range(1, 200)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = write_card(run / "huggingface").read_text()
    found = cells(text)
    assert {"1", "77", "199"} <= found.keys()
    assert "31 of 199 validations" in text
    assert len(json.loads((run / "huggingface" / "card.json").read_text())["validation"]) == 199


def test_intervals_are_those_of_scipy():
    from scipy.stats import binomtest

    for good, count in ((0, 5), (5, 5), (13, 20), (900, 1000)):
        expected = binomtest(good, count).proportion_ci(method="wilson")
        assert wilson(good / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)
    low, high = bonett_wright(0.6, 103)
    half = 1.959964 * math.sqrt(1.18 / 100)
    assert (low, high) == pytest.approx(
        (math.tanh(math.atanh(0.6) - half), math.tanh(math.atanh(0.6) + half))
    )


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_a_sparkline_has_its_extremes_at_their_places(values):
    line = sparkline(values, width=len(values))
    assert len(line) == len(values)
    assert line[values.index(min(values))] == "▁"
    if max(values) > min(values):
        assert line[values.index(max(values))] == "█"
