"""Labelled proteins as packed batches, the same whatever ranks and micro-batches there are.

Shapes: B sequences, T tokens of all, L residues of the longest, C classes or labels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bionemo_ext.contract import Kind
from bionemo_ext.data.batches import pack
from bionemo_ext.data.dataset import Sample
from bionemo_ext.inference.task import TaskSpec
from bionemo_ext.recipes.finetune.losses import stack_targets, target_tensor
from bionemo_ext.sequences import Alphabet
from bionemo_ext.tasks.targets import IGNORED

# Fills a last batch up: a protein of one residue, whose label does not count.
_FILLER = "A"


class LabelledTokens(NamedTuple):
    """One protein: tokens [L + 2], its target, and what its loss is multiplied by."""

    tokens: NDArray[np.int64]
    target: Tensor
    scale: float


class LabelledStream(Dataset[LabelledTokens]):
    """Sample i of all epochs, each a whole number of batches.

    Parameters
    ----------
    spec : TaskSpec
        The kind of target.
    alphabet : Alphabet
        Of the encoder.
    sequences : sequence of str
        Clean, within the encoder's limit.
    targets : sequence of array
        One a sequence, as :class:`bionemo_ext.tasks.targets.Targets` has them.
    batch : int
        Samples in a batch; the last of an epoch is filled up with labels that do not count.
    epochs : int
        How often all sequences come.
    seed : int, optional
        With the epoch decides the order; that of ``sequences`` when not given.
    class_weights : Tensor, optional
        [C], how much the classes count in the loss.
    """

    def __init__(
        self,
        spec: TaskSpec,
        alphabet: Alphabet,
        sequences: Sequence[str],
        targets: Sequence[NDArray[np.generic]],
        batch: int,
        *,
        epochs: int = 1,
        seed: int | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self.spec, self.alphabet, self.batch, self.seed = spec, alphabet, batch, seed
        self.sequences, self.targets, self.epochs = sequences, targets, epochs
        self.steps = -(-len(sequences) // batch)
        self._epoch, self._order = -1, np.empty(0, np.int64)
        self._labels = self._weights = None
        if class_weights is not None:
            counted = [t[t != IGNORED] for t in map(np.atleast_1d, targets)]
            self._labels = np.array([len(t) for t in counted])
            self._weights = np.array([class_weights[t].sum().item() for t in counted])

    def __len__(self) -> int:
        return self.steps * self.batch * self.epochs

    def __getitem__(self, index: int) -> LabelledTokens:
        epoch, place = divmod(index, self.steps * self.batch)
        order = self._order_of(epoch)
        if place >= len(order):
            return LabelledTokens(self.alphabet.encode(_FILLER), _uncounted(self.spec), 1.0)
        at = order[place]
        tokens = self.alphabet.encode(self.sequences[at])
        first = place - place % self.batch
        scale = self._scale(order[first : first + self.batch])
        return LabelledTokens(tokens, target_tensor(self.spec, self.targets[at]), scale)

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            n = len(self.sequences)
            shuffled = self.seed is not None
            self._order = (
                np.random.default_rng([self.seed, epoch]).permutation(n)
                if shuffled
                else np.arange(n)
            )
            self._epoch = epoch
        return self._order

    def _scale(self, batch: NDArray[np.int64]) -> float:
        """Labels a unit of weight: Megatron divides by the labels of a batch, not their weights."""
        if self._weights is None:
            return 1.0
        return float(self._labels[batch].sum() / max(self._weights[batch].sum(), 1e-12))


def batch_maker(
    spec: TaskSpec, alphabet: Alphabet, multiple: int
) -> Callable[[Sequence[LabelledTokens]], dict[str, Tensor]]:
    """Give what makes a batch of samples.

    It gives ``tokens`` and ``attention_mask`` [1, T], ``offsets`` and ``longest`` as
    :func:`bionemo_ext.data.batches.pack` does, ``lengths`` in residues [B], ``targets`` [B, ...]
    padded with what does not count, and ``scale`` [], which the loss is multiplied by.

    Parameters
    ----------
    spec : TaskSpec
        The kind of target.
    alphabet : Alphabet
        Of the tokens.
    multiple : int
        What T is a multiple of.
    """
    return partial(_make_batch, spec=spec, pad_id=alphabet.pad_id, multiple=multiple)


def _make_batch(
    samples: Sequence[LabelledTokens], spec: TaskSpec, pad_id: int, multiple: int
) -> dict[str, Tensor]:
    unmasked = [Sample(s.tokens, s.tokens, np.zeros(len(s.tokens), bool)) for s in samples]
    packed = pack(unmasked, pad_id, multiple)
    kept = ("tokens", "attention_mask", "offsets", "longest")
    return {
        **{name: packed[name] for name in kept},
        "lengths": torch.tensor([len(sample.tokens) - 2 for sample in samples]),
        "targets": stack_targets(spec, [sample.target for sample in samples]),
        # All are of one global batch; a filler knows nothing of it.
        "scale": torch.tensor(samples[0].scale),
    }


def _uncounted(spec: TaskSpec) -> Tensor:
    """Target of a protein of one residue that takes no part."""
    if spec.kind is Kind.CLASSIFICATION:
        target = torch.tensor(IGNORED)
    elif spec.kind is Kind.MULTILABEL:
        target = torch.full((len(spec.classes),), torch.nan)
    else:
        target = torch.tensor(torch.nan)
    return target[None] if spec.residues else target
