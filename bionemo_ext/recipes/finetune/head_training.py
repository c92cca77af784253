"""Train a task head on features that do not change, stopping when validation says so.

Shapes: B examples, L residues of the longest, F features.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bionemo_ext.inference.task import Head, TaskSpec, in_unit
from bionemo_ext.recipes.finetune.epochs import Row
from bionemo_ext.recipes.finetune.features import Features
from bionemo_ext.recipes.finetune.losses import (
    balanced_weights,
    stack_targets,
    target_tensor,
    task_loss,
)
from bionemo_ext.recipes.finetune.settings import ClassWeights, HeadTraining


@dataclass(frozen=True)
class Examples:
    """Sequences and their targets, one part of a data set.

    Parameters
    ----------
    sequences : sequence of str
        Clean residues.
    targets : sequence of array
        As :class:`bionemo_ext.tasks.targets.Targets` has them.
    """

    sequences: Sequence[str]
    targets: Sequence[NDArray[np.generic]]

    def __len__(self) -> int:
        return len(self.sequences)


def train_head(
    spec: TaskSpec,
    train: Examples,
    validation: Examples,
    features: Features,
    settings: HeadTraining,
    *,
    lr: float,
    seed: int,
    class_weights: ClassWeights = ClassWeights.NONE,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> Head:
    """Train a head and return it as it was at the lowest validation loss.

    Parameters
    ----------
    spec : TaskSpec
        The head's shape and the kind of target.
    train, validation : Examples
        To learn from, and to stop by.
    features : Features
        Gives a sequence's features; asked again in every epoch.
    settings : HeadTraining
        Batches and patience.
    lr : float
        Learning rate of Adam.
    seed : int
        Decides initial weights, order and dropout.
    class_weights : ClassWeights
        How much the classes count in training; the validation loss counts labels alike.
    on_epoch : callable
        Is given epoch (from 1), loss, val_loss and seconds.
    """
    balanced = class_weights is ClassWeights.BALANCED
    weights = balanced_weights(spec, train.targets) if balanced else None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = Head(spec)
        optimizer = torch.optim.Adam(head.parameters(), lr=lr, weight_decay=settings.weight_decay)
        best, best_loss, waited = copy.deepcopy(head), float("inf"), 0
        for epoch in range(1, settings.epochs + 1):
            began = time.monotonic()
            loss = _epoch(spec, head, optimizer, train, features, settings, weights)
            val_loss = evaluate(spec, head, validation, features, settings.batch)
            seconds = time.monotonic() - began
            on_epoch({"epoch": epoch, "loss": loss, "val_loss": val_loss, "seconds": seconds})
            waited += 1
            if val_loss < best_loss:
                best, best_loss, waited = copy.deepcopy(head), val_loss, 0
            if waited >= settings.patience:
                break
    return best.eval()


def _epoch(
    spec: TaskSpec,
    head: Head,
    optimizer: torch.optim.Optimizer,
    train: Examples,
    features: Features,
    settings: HeadTraining,
    class_weights: Tensor | None,
) -> float:
    head.train()
    order = torch.randperm(len(train)).tolist()
    total, counted = 0.0, 0.0
    for x, lengths, targets in _batches(spec, train, features, order, settings.batch):
        optimizer.zero_grad()
        loss_sum, count = task_loss(spec, head(x, lengths), targets, class_weights)
        (loss_sum / count.clamp(min=1e-12)).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), settings.clip or torch.inf)
        optimizer.step()
        total, counted = total + loss_sum.item(), counted + count.item()
    return total / max(counted, 1e-12)


@torch.inference_mode()
def evaluate(
    spec: TaskSpec, head: Head, examples: Examples, features: Features, batch: int
) -> float:
    """Mean loss over all labels that count."""
    head.eval()
    total, counted = 0.0, 0.0
    batches = _batches(spec, examples, features, range(len(examples)), batch)
    for x, lengths, targets in batches:
        loss_sum, count = task_loss(spec, head(x, lengths), targets)
        total, counted = total + loss_sum.item(), counted + count.item()
    return total / max(counted, 1e-12)


@torch.inference_mode()
def predict_all(
    spec: TaskSpec, head: Head, sequences: Sequence[str], features: Features
) -> list[NDArray[np.float32]]:
    """Predictions of each sequence, as :func:`bionemo_ext.inference.task.predict` gives them."""
    head.eval()
    return [in_unit(spec, head(features(s)[None])[0]).numpy() for s in sequences]


def _batches(
    spec: TaskSpec, examples: Examples, features: Features, order: Sequence[int], size: int
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        found = [features(examples.sequences[i]) for i in rows]
        targets = [target_tensor(spec, examples.targets[i]) for i in rows]
        if spec.sees_residues:
            lengths = torch.tensor([len(x) for x in found])
            x = pad_sequence(found, batch_first=True)
        else:
            lengths, x = None, torch.stack(found)
        yield x, lengths, stack_targets(spec, targets)
