"""Every parallel layout gives the losses of one rank, and reads the checkpoints of every other."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from running import (
    ONE,
    PIPELINE,
    SEQUENCE,
    STEPS,
    TENSOR,
    TWO,
    command,
    losses,
    pretrain,
    tokens,
    validations,
    weights_equal,
)  # fmt: skip

LAYOUTS = {
    "one_rank": ONE,
    "tensor_parallel": TENSOR,
    "pipeline_parallel": PIPELINE,
    "data_parallel": TWO,
}
# Of the twelve ways this one runs by default.
HARDEST = ("pipeline_parallel", "tensor_parallel")
OTHERS = [(a, b) for a in LAYOUTS for b in LAYOUTS if a != b and (a, b) != HARDEST]


@pytest.mark.parametrize("layout", list(LAYOUTS)[1:])
def test_two_ranks_give_the_losses_of_one(request, one_rank, layout):
    run = request.getfixturevalue(layout)
    assert len(losses(one_rank)) == STEPS
    np.testing.assert_allclose(losses(run), losses(one_rank), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(tokens(run), tokens(one_rank))
    steps, expected = zip(*validations(one_rank), strict=True)
    assert [step for step, _ in validations(run)] == list(steps)
    np.testing.assert_allclose([loss for _, loss in validations(run)], expected, rtol=0, atol=1e-5)
    assert losses(one_rank)[-1] < losses(one_rank)[0] - 0.2


@pytest.mark.parametrize(
    "words",
    [
        (*SEQUENCE, "recompute=full"),
        (*ONE, "packing=false"),
        pytest.param(
            (*ONE, "recompute=selective", "parallel.distributed_optimizer=false"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["sequence parallel, recomputed", "padded", "optimizer not distributed"],
)
def test_other_ways_give_the_same_losses(tmp_path, proteins, one_rank, words):
    pretrain(tmp_path / "run", proteins, *words, "steps=5")
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(one_rank)[:5], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(tokens(tmp_path / "run"), tokens(one_rank)[:5])


@pytest.mark.parametrize(
    ("written", "resumed"),
    [HARDEST, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS)],
)
def test_a_checkpoint_goes_on_under_another_layout(
    request, tmp_path, proteins, one_rank, written, resumed
):
    source, run = request.getfixturevalue(written), tmp_path / "run"
    half = "checkpoints/step-00000010"
    shutil.copytree(source / half, run / half)
    shutil.copy(source / "run.yaml", run)
    pretrain(run, proteins, *LAYOUTS[resumed])
    np.testing.assert_allclose(losses(run), losses(one_rank)[10:], rtol=0, atol=1e-5)
    # Validation was due at the checkpoint: it is done there, and over the whole set.
    assert [step for step, _ in validations(run)] == [10, 15, 20]
    expected = [loss for step, loss in validations(one_rank) if step >= 10]
    np.testing.assert_allclose([loss for _, loss in validations(run)], expected, atol=1e-5)
    assert weights_equal(run, one_rank, atol=1e-4)


@pytest.mark.slow  # test_launch has torchrun's ranks by default
def test_ranks_that_torchrun_started(tmp_path, proteins, one_rank):
    run = tmp_path / "run"
    _, *words = command(run, proteins, *TENSOR, "steps=5")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    np.testing.assert_allclose(losses(run), losses(one_rank)[:5], rtol=0, atol=1e-5)
    assert (run / "run.yaml").is_file()
    assert (run / "huggingface" / "model.safetensors").is_file()
