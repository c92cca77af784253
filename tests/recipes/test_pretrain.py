"""The real command on two gloo ranks: parallel layouts, killed runs and checkpoints agree."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from bionemo_ext.data.batches import collate
from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.errors import CheckpointError
from bionemo_ext.recipes.checkpoint import to_huggingface
from bionemo_ext.recipes.runs import newest_checkpoint, read_metrics, whole_checkpoints
from bionemo_ext.resources import data_path
from bionemo_ext.sequences import ESM2, read_fasta

STEPS = 20
SMALL = [
    "recipe=demo", "model.name=tiny", "model.layers=2", "model.hidden=64", "model.heads=4",
    "data.max_residues=100", f"steps={STEPS}", "micro_batch=4", "global_batch=8",
    "validate_every=5", "checkpoint_every=5", "optimizer.warmup_steps=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "proteins.fasta"
    records = list(read_fasta(data_path("uniprot.fasta.gz")))[:120]
    path.write_text("".join(f">{r.name}\n{r.sequence}\n" for r in records))
    return path


def command(out, proteins, *words):
    overrides = [*SMALL, f"out={out}", f"data.train={proteins}", *words]
    return [sys.executable, "-m", "bionemo_ext", "pretrain", *overrides]


def pretrain(out, proteins, *words):
    done = subprocess.run(
        command(out, proteins, *words), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(run):
    return np.array([row["loss"] for row in read_metrics(run) if "loss" in row])


def tokens(run):
    return np.array([row["tokens"] for row in read_metrics(run) if "tokens" in row])


def validations(run):
    return [(row["step"], row["val_loss"]) for row in read_metrics(run) if "val_loss" in row]


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory, proteins):
    run = tmp_path_factory.mktemp("one") / "run"
    pretrain(run, proteins, "parallel=single")
    return run


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, proteins):
    run = tmp_path_factory.mktemp("two") / "run"
    pretrain(run, proteins, "parallel=tp2", "keep_checkpoints=4")
    return run


def test_two_ranks_give_the_losses_of_one(one_rank, two_ranks):
    assert len(losses(one_rank)) == STEPS
    np.testing.assert_allclose(losses(two_ranks), losses(one_rank), rtol=0, atol=1e-5)
    assert losses(one_rank)[-1] < losses(one_rank)[0] - 0.2


@pytest.mark.parametrize(
    "layout",
    [
        ("parallel=tp2", "parallel.sequence=true"),
        ("parallel=single", "parallel.devices=2"),
    ],
    ids=["sequence parallel", "data parallel"],
)
def test_other_layouts_give_the_same_losses(tmp_path, proteins, one_rank, layout):
    pretrain(tmp_path / "run", proteins, *layout, "steps=5")
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(one_rank)[:5], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(tokens(tmp_path / "run"), tokens(one_rank)[:5])


def test_a_killed_run_resumes_to_the_same_losses(tmp_path, proteins, two_ranks):
    run = tmp_path / "run"
    process = subprocess.Popen(
        command(run, proteins, "parallel=tp2"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(read_metrics(run)) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    ranks = children(process.pid)
    helpers = [pid for rank in ranks for pid in children(rank)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(ranks) == 2
    assert all(gone(pid) for pid in ranks + helpers), "a rank goes on after its launcher was killed"
    assert newest_checkpoint(run) is not None
    assert len(losses(run)) < STEPS
    output = pretrain(run, proteins, "parallel=tp2")
    assert "has step-000000" in output
    np.testing.assert_array_equal(losses(run), losses(two_ranks))
    assert validations(run) == validations(two_ranks)
    assert weights_equal(run, two_ranks, atol=0)


def test_a_checkpoint_of_two_ranks_goes_on_at_one(tmp_path, proteins, one_rank, two_ranks):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    half = whole_checkpoints(two_ranks / "checkpoints")[1]
    assert half.name == "step-00000010"
    shutil.copytree(half, run / "checkpoints" / half.name)
    (run / "run.yaml").write_text((two_ranks / "run.yaml").read_text())
    pretrain(run, proteins, "parallel=single")
    np.testing.assert_allclose(losses(run), losses(one_rank)[10:], rtol=0, atol=1e-5)
    # Validation was due at the checkpoint: it is done there, and over the whole set.
    assert [step for step, _ in validations(run)] == [10, 15, 20]
    expected = [loss for step, loss in validations(one_rank) if step >= 10]
    np.testing.assert_allclose([loss for _, loss in validations(run)], expected, atol=1e-5)
    assert weights_equal(run, one_rank, atol=1e-4)


def test_the_exported_model_has_the_reported_validation_loss(one_rank, proteins):
    from transformers import EsmForMaskedLM

    model = EsmForMaskedLM.from_pretrained(one_rank / "huggingface").eval()
    settings = yaml.safe_load((one_rank / "run.yaml").read_text())
    store = SequenceStore.from_fasta(proteins)
    _, validation = store.split(settings["data"]["validation_fraction"], settings["seed"])
    samples = MaskedDataset(validation, len(validation), settings["seed"], 100, fixed=True)
    batch = collate([samples[i] for i in range(len(samples))], ESM2.pad_id)
    with torch.no_grad():
        logits = model(batch["tokens"], batch["attention_mask"]).logits
    chosen = batch["loss_mask"].bool()
    loss = torch.nn.functional.cross_entropy(logits[chosen], batch["labels"][chosen])
    reported = [row["val_loss"] for row in read_metrics(one_rank) if "val_loss" in row]
    assert len(reported) == STEPS // 5
    assert float(loss) == pytest.approx(reported[-1], abs=1e-4)


def test_ranks_that_torchrun_started(tmp_path, proteins, one_rank):
    run = tmp_path / "run"
    _, *words = command(run, proteins, "parallel=tp2", "steps=5")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    np.testing.assert_allclose(losses(run), losses(one_rank)[:5], rtol=0, atol=1e-5)
    assert (run / "run.yaml").is_file()
    assert (run / "huggingface" / "model.safetensors").is_file()


def test_a_finished_run_is_left_as_it_is(one_rank, proteins):
    before = (one_rank / "metrics.jsonl").read_text()
    output = pretrain(one_rank, proteins, "parallel=single")
    assert f"trained to step {STEPS} already" in output
    assert (one_rank / "metrics.jsonl").read_text() == before


def test_another_model_is_not_resumed(one_rank, proteins):
    done = subprocess.run(
        command(one_rank, proteins, "model.hidden=128"), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "another model" in done.stderr
    changed = command(one_rank, proteins, "seed=1")
    done = subprocess.run(changed, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "another seed" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_a_damaged_checkpoint_is_one_sentence(tmp_path, proteins, one_rank):
    run = tmp_path / "run"
    shutil.copytree(one_rank, run)
    weights = newest_checkpoint(run) / "weights"
    largest = max(weights.glob("*.distcp"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"{largest.name} is missing or cut short"):
        to_huggingface(run, tmp_path / "out")
    more = command(run, proteins, "parallel=single", f"steps={STEPS + 1}")
    done = subprocess.run(more, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert f"{largest.name} is missing or cut short" in done.stderr
    assert "Traceback" not in done.stderr
    (weights / ".metadata").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="has no index"):
        to_huggingface(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def weights_equal(run, other, atol):
    ours, theirs = (
        load_file(folder / "huggingface" / "model.safetensors") for folder in (run, other)
    )
    assert ours.keys() == theirs.keys()
    return all(torch.allclose(ours[k], theirs[k], rtol=0, atol=atol) for k in ours)


def children(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def gone(pid):
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_metrics_are_json_lines(one_rank):
    rows = [json.loads(line) for line in (one_rank / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "loss", "lr", "tokens", "seconds"} <= rows[0].keys()
