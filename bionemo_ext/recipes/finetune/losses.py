"""Loss of a task's predictions, over the labels that count.

Shapes: B sequences, L residues of the longest, C outputs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from bionemo_ext.contract import Kind
from bionemo_ext.inference.task import TaskSpec
from bionemo_ext.tasks.targets import IGNORED


def target_tensor(spec: TaskSpec, target: NDArray[np.generic]) -> Tensor:
    """One protein's target as the loss takes it: numbers in units of the training targets."""
    tensor = torch.from_numpy(np.asarray(target).copy())
    return (tensor - spec.mean) / spec.scale if spec.kind is Kind.REGRESSION else tensor


def stack_targets(spec: TaskSpec, targets: Sequence[Tensor]) -> Tensor:
    """[B, ...] of targets; residues beyond a sequence's end do not count."""
    padding = float(IGNORED) if spec.kind is Kind.CLASSIFICATION else float("nan")
    if spec.residues:
        return pad_sequence(list(targets), batch_first=True, padding_value=padding)
    return torch.stack(list(targets))


def task_loss(
    spec: TaskSpec, raw: Tensor, targets: Tensor, class_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum of the losses, and what to divide it by for the mean.

    Cross-entropy of classes, binary cross-entropy of labels, squared error of numbers.

    Parameters
    ----------
    spec : TaskSpec
        Kind of the target.
    raw : Tensor
        The head's outputs, [B, C] or [B, L, C].
    targets : Tensor
        [B] or [B, L]; [B, C] or [B, L, C] of labels. ``IGNORED`` or not a number does not count.
    class_weights : Tensor, optional
        [C], of classes alone.

    Returns
    -------
    loss_sum, count : Tensor
        The weights of the labels that count, summed; their number where there are none.
    """
    if spec.kind is Kind.CLASSIFICATION:
        flat = targets.flatten()
        loss = F.cross_entropy(
            raw.flatten(0, -2), flat, class_weights, ignore_index=IGNORED, reduction="sum"
        )
        counted = flat[flat != IGNORED]
        if class_weights is None:
            return loss, torch.tensor(float(len(counted)), device=raw.device)
        return loss, class_weights[counted].sum()
    outputs = raw if spec.kind is Kind.MULTILABEL else raw[..., 0]
    counts = ~targets.isnan()
    outputs, wanted = outputs[counts], targets[counts].to(raw.dtype)
    if spec.kind is Kind.MULTILABEL:
        loss = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="sum")
    else:
        loss = F.mse_loss(outputs, wanted, reduction="sum")
    return loss, counts.sum().float()


def balanced_weights(spec: TaskSpec, targets: Sequence[NDArray[np.generic]]) -> Tensor:
    """Weights by which all classes count alike: n / (C n_c) (King and Zeng, 2001), [C]."""
    labels = np.concatenate([np.atleast_1d(target) for target in targets])
    counts = np.bincount(labels[labels != IGNORED], minlength=len(spec.classes))
    weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
    return torch.from_numpy(weights).float()
