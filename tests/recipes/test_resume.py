"""A run that is killed, told to end or damaged loses nothing and takes nothing half for whole."""

import shutil
import signal
import subprocess

import numpy as np
import pytest
from running import (
    ONE,
    STEPS,
    TENSOR,
    command,
    kill,
    losses,
    pretrain,
    start,
    validations,
    wait_for,
    weights_equal,
)  # fmt: skip

from bionemo_ext.errors import CheckpointError
from bionemo_ext.recipes.checkpoint import check_files, to_huggingface
from bionemo_ext.recipes.runs import (
    best_checkpoints,
    checkpoint_step,
    newest_checkpoint,
    read_metrics,
    whole_checkpoints,
)  # fmt: skip


def test_a_killed_run_resumes_to_the_same_losses(tmp_path, proteins, tensor_parallel):
    run = tmp_path / "run"
    process = start(run, proteins, *TENSOR)
    wait_for(lambda: newest_checkpoint(run) is not None)
    assert kill(process) == [], "a process goes on after the launcher was killed"
    assert len(losses(run)) < STEPS
    output = pretrain(run, proteins, *TENSOR)
    assert "has step-000000" in output
    np.testing.assert_array_equal(losses(run), losses(tensor_parallel))
    assert validations(run) == validations(tensor_parallel)
    assert weights_equal(run, tensor_parallel, atol=0)


@pytest.mark.parametrize("background", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_kill_in_the_middle_of_a_save(tmp_path, proteins, one_rank, background):
    run, saving = tmp_path / "run", f"async_checkpoints={background}"
    process = start(run, proteins, *ONE, saving)
    partly = run / "checkpoints" / "step-00000010.partial"
    wait_for(partly.exists)
    kill(process)
    for whole in whole_checkpoints(run / "checkpoints"):
        check_files(whole)
        to_huggingface(whole, tmp_path / whole.name)
    pretrain(run, proteins, *ONE, saving)
    np.testing.assert_array_equal(losses(run), losses(one_rank))
    assert weights_equal(run, one_rank, atol=0)


def test_a_run_that_is_told_to_end_saves_first(tmp_path, proteins, tensor_parallel):
    run = tmp_path / "run"
    process = start(run, proteins, *TENSOR, "checkpoint_every=1000")
    wait_for(lambda: len(losses(run)) >= 3)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    step = checkpoint_step(newest_checkpoint(run))
    assert 3 <= step < STEPS
    assert f"stopped by SIGTERM after step {step} of {STEPS}" in output
    assert "Traceback" not in output
    assert len(losses(run)) == step
    pretrain(run, proteins, *TENSOR, "checkpoint_every=1000")
    np.testing.assert_array_equal(losses(run), losses(tensor_parallel))
    assert weights_equal(run, tensor_parallel, atol=0)


def test_the_newest_and_the_best_are_kept(tmp_path, proteins):
    run = tmp_path / "run"
    words = ["keep_checkpoints=1", "optimizer.lr=3.0", "optimizer.min_lr=3.0", "steps=15"]
    pretrain(run, proteins, *ONE, *words)  # so fast that it gets worse
    measured = dict(validations(run))
    best = min(measured, key=measured.get)
    kept = [checkpoint_step(path) for path in whole_checkpoints(run / "checkpoints")]
    assert kept == sorted({best, 15})
    assert best < 15
    assert (run / "checkpoints" / "best").resolve() == best_checkpoints(run)[0].resolve()
    assert checkpoint_step(best_checkpoints(run)[0]) == best


def test_a_finished_run_is_left_as_it_is(one_rank, proteins):
    before = (one_rank / "metrics.jsonl").read_text()
    output = pretrain(one_rank, proteins, *ONE)
    assert f"trained to step {STEPS} already" in output
    assert (one_rank / "metrics.jsonl").read_text() == before


def test_another_model_is_not_resumed(one_rank, proteins):
    for change, named in [("model.hidden=128", "another model"), ("seed=1", "another seed")]:
        changed = command(one_rank, proteins, change)
        done = subprocess.run(changed, capture_output=True, text=True, timeout=60)
        assert (done.returncode, named in done.stderr) == (2, True)
        assert "Traceback" not in done.stderr


def test_other_data_of_the_same_name_is_not_resumed(tmp_path, proteins, one_rank):
    run, changed = tmp_path / "run", tmp_path / "proteins.fasta"
    shutil.copytree(one_rank, run, symlinks=True)
    settings = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(settings.replace(str(proteins), str(changed)))
    more = command(run, changed, *ONE, f"steps={STEPS + 1}")
    changed.write_text(proteins.read_text() + ">another\nMKTVRQG\n")
    done = subprocess.run(more, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "has changed since the run began" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_checkpoint_is_one_sentence(tmp_path, proteins, one_rank):
    run = tmp_path / "run"
    shutil.copytree(one_rank, run, symlinks=True)
    weights = newest_checkpoint(run) / "weights"
    largest = max(weights.glob("*.distcp"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"{largest.name} is missing or cut short"):
        to_huggingface(run, tmp_path / "out")
    more = command(run, proteins, *ONE, f"steps={STEPS + 1}")
    done = subprocess.run(more, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert f"{largest.name} is missing or cut short" in done.stderr
    assert "Traceback" not in done.stderr
    (weights / ".metadata").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="has no index"):
        to_huggingface(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_metrics_are_json_lines(one_rank):
    rows = read_metrics(one_rank)
    wanted = {"step", "loss", "lr", "tokens", "padding", "tokens_per_s", "tflops", "seconds"}
    assert wanted <= rows[0].keys()
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
