"""Train a task head on features that do not change, stopping when validation says so.

Shapes: B examples, L residues of the longest, H features.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from bionemo_ext.inference.task import Head, Kind, Level, TaskSpec

# Class number of residues whose label does not count, and of padding.
IGNORED = -100


@dataclass(frozen=True)
class Examples:
    """Features and targets of one part of a data set.

    Parameters
    ----------
    features : list of Tensor
        [H] a sequence, or [L, H] where every residue has a label.
    targets : list of Tensor
        A class number or a number in units of the training targets' deviation; [L] class numbers.
    """

    features: list[Tensor]
    targets: list[Tensor]

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class HeadTraining:
    """How a head is trained: Adam, and early stopping on the validation loss."""

    epochs: int = 50
    patience: int = 5
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.0


def train_head(
    spec: TaskSpec,
    train: Examples,
    validation: Examples,
    settings: HeadTraining,
    seed: int,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Head:
    """Train a head and return it as it was at the lowest validation loss.

    Parameters
    ----------
    spec : TaskSpec
        The head's shape and the kind of target.
    train, validation : Examples
        To learn from, and to stop by.
    settings : HeadTraining
        Optimizer and patience.
    seed : int
        Decides initial weights, order and dropout.
    on_epoch : callable
        Called with the epoch and its validation loss.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = Head(spec)
        optimizer = torch.optim.Adam(
            head.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        best, best_loss, waited = copy.deepcopy(head), float("inf"), 0
        for epoch in range(settings.epochs):
            head.train()
            for features, targets in _batches(train, settings.batch, shuffle=True):
                optimizer.zero_grad()
                loss_sum, count = _loss(spec, head(features), targets)
                (loss_sum / max(count, 1)).backward()
                optimizer.step()
            loss = evaluate(spec, head, validation, settings.batch)
            on_epoch(epoch, loss)
            waited += 1
            if loss < best_loss:
                best, best_loss, waited = copy.deepcopy(head), loss, 0
            if waited >= settings.patience:
                break
    return best.eval()


@torch.no_grad()
def evaluate(spec: TaskSpec, head: Head, examples: Examples, batch: int) -> float:
    """Mean loss over all labels."""
    head.eval()
    parts = [_loss(spec, head(x), y) for x, y in _batches(examples, batch, shuffle=False)]
    return float(sum(loss for loss, _ in parts) / max(1, sum(count for _, count in parts)))


@torch.no_grad()
def outputs(spec: TaskSpec, head: Head, examples: Examples) -> NDArray[np.float64]:
    """Predictions of all labels that count: class numbers, or numbers in the target's unit."""
    head.eval()
    found = []
    for features, targets in zip(examples.features, examples.targets, strict=True):
        raw = head(features[None])[0]
        if spec.kind is Kind.REGRESSION:
            found.append((raw * spec.scale + spec.mean).double())
        elif spec.level is Level.RESIDUE:
            found.append(raw.argmax(-1)[targets != IGNORED])
        else:
            found.append(raw.argmax(-1)[None])
    return torch.cat(found).numpy()


def _batches(examples: Examples, size: int, *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
    order: Sequence[int] = (
        torch.randperm(len(examples)).tolist() if shuffle else range(len(examples))
    )
    for start in range(0, len(examples), size):
        rows = order[start : start + size]
        features = pad_sequence([examples.features[i] for i in rows], batch_first=True)
        targets = [examples.targets[i] for i in rows]
        if targets[0].ndim == 0:
            yield features, torch.stack(targets)
        else:
            yield features, pad_sequence(targets, batch_first=True, padding_value=IGNORED)


def _loss(spec: TaskSpec, raw: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    if spec.kind is Kind.REGRESSION:
        return F.mse_loss(raw[..., 0], targets, reduction="sum"), targets.numel()
    loss = F.cross_entropy(
        raw.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return loss, int((targets != IGNORED).sum())
