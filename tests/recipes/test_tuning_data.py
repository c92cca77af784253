"""Batches of labelled proteins: order, what fills them up, and the mean that weights leave."""

import numpy as np
import pytest
import torch

from bionemo_ext.contract import Kind, Level
from bionemo_ext.inference.task import HeadKind, TaskSpec
from bionemo_ext.recipes.finetune.losses import balanced_weights, stack_targets, task_loss
from bionemo_ext.recipes.tuning.data import LabelledStream, batch_maker
from bionemo_ext.recipes.tuning.epochs import is_over
from bionemo_ext.recipes.tuning.model import TaskLoss
from bionemo_ext.sequences import ESM2

SEQUENCES = ["MKTV", "ACDEFG", "WYL", "MMKK", "PQRST", "GG", "HILV"]


def spec(level, kind, classes=("a", "b", "c")):
    names = () if kind is Kind.REGRESSION else classes
    return TaskSpec("t", level, kind, names, HeadKind.LINEAR, 8, 4, mean=2.0, scale=0.5)


def labels(level, kind):
    rng = np.random.default_rng(0)
    sizes = [(len(s),) if level is Level.RESIDUE else () for s in SEQUENCES]
    if kind is Kind.CLASSIFICATION:
        return [np.array(rng.integers(0, 3, size)) for size in sizes]
    if kind is Kind.MULTILABEL:
        return [rng.integers(0, 2, (*size, 3)).astype(np.float32) for size in sizes]
    return [np.array(rng.normal(size=size), np.float32) for size in sizes]


def decoded(sample):
    return "".join(ESM2.tokens[i] for i in sample.tokens[1:-1])


def test_every_epoch_has_every_protein_once_in_another_order():
    task = spec(Level.SEQUENCE, Kind.CLASSIFICATION)
    targets = labels(Level.SEQUENCE, Kind.CLASSIFICATION)
    made = [LabelledStream(task, ESM2, SEQUENCES, targets, 4, epochs=2, seed=7) for _ in range(2)]
    assert (made[0].steps, len(made[0])) == (2, 16)
    orders = [[decoded(made[0][8 * epoch + i]) for i in range(8)] for epoch in range(2)]
    assert all(sorted(order[:7]) == sorted(SEQUENCES) for order in orders)
    assert orders[0][7] == orders[1][7] == "A"  # fills the last batch up
    assert orders[0] != orders[1]
    # A run that goes on asks for the second epoch at once.
    assert [decoded(made[1][8 + i]) for i in range(8)] == orders[1]
    fixed = LabelledStream(task, ESM2, SEQUENCES, targets, 4)
    assert [decoded(fixed[i]) for i in range(7)] == SEQUENCES


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize(
    ("kind", "weighted"), [*((kind, False) for kind in Kind), (Kind.CLASSIFICATION, True)]
)
def test_the_mean_is_that_of_the_whole_batch_however_it_is_cut(level, kind, weighted):
    task, targets = spec(level, kind), labels(level, kind)
    weights = balanced_weights(task, targets) if weighted else None
    stream = LabelledStream(task, ESM2, SEQUENCES, targets, 8, class_weights=weights)
    make, loss = batch_maker(task, ESM2, multiple=16), TaskLoss(task, [], weights)
    samples = [stream[i] for i in range(8)]
    generator = torch.Generator().manual_seed(1)
    shape = (8, 6, task.outputs) if level is Level.RESIDUE else (8, task.outputs)
    raw = torch.randn(shape, generator=generator)
    total, count = 0.0, 0
    for at in range(0, 8, 2):
        batch = make(samples[at : at + 2])
        assert batch["tokens"].shape[1] % 16 == 0
        width = batch["targets"].shape[1] if level is Level.RESIDUE else None
        part = raw[at : at + 2, :width] if width else raw[at : at + 2]
        loss_sum, labels_here, _ = loss.forward(batch, part)
        total, count = total + loss_sum, count + labels_here
    own = [sample.target for sample in samples[:7]]
    whole = raw[:7, : max(map(len, SEQUENCES))] if level is Level.RESIDUE else raw[:7]
    wanted, divisor = task_loss(task, whole, stack_targets(task, own), weights)
    torch.testing.assert_close(total / count, wanted / divisor)


def test_training_ends_with_its_epochs_or_its_patience():
    def rows(*losses):
        return [{"val_loss": loss} for loss in losses]

    assert not is_over([], epochs=3, patience=2)
    assert not is_over(rows(2.0, 1.0), epochs=3, patience=2)
    assert is_over(rows(2.0, 1.0, 0.5), epochs=3, patience=2)
    assert not is_over(rows(1.0, 2.0), epochs=9, patience=2)
    assert is_over(rows(1.0, 2.0, 1.0), epochs=9, patience=2)
    assert not is_over(rows(1.0, float("nan"), 0.9, 1.1), epochs=9, patience=2)
    assert is_over(rows(*[float("nan")] * 3), epochs=9, patience=2)
