"""Masked sequences as a stream that is a function of (seed, epoch, index) alone.

There is no state to save: resuming needs the number of samples seen, and any number of workers
gives the same stream. Shape letter: L tokens of a sequence.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bionemo_ext.data.masking import MaskingPolicy, mask_tokens
from bionemo_ext.data.store import Crop, SequenceStore


@dataclass(frozen=True)
class Sample:
    """One masked sequence: inputs, labels and where the labels count, each of shape [L]."""

    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]
    chosen: NDArray[np.bool_]


@dataclass(frozen=True)
class MaskedDataset(Dataset[Sample]):
    """Sample i of an endless training stream, or of a fixed validation set.

    Parameters
    ----------
    store : SequenceStore
        The sequences.
    length : int
        Samples there are. Beyond the store's size a new epoch begins, shuffled and masked anew.
    seed : int
        With epoch and index decides order, crop and mask.
    max_residues : int
        Longer sequences are cropped.
    crop : Crop
        Where.
    fixed : bool
        Keep the store's order and one mask (validation); samples beyond the store count nowhere.
    policy : MaskingPolicy
        The shares of masking.
    """

    store: SequenceStore
    length: int
    seed: int
    max_residues: int
    crop: Crop = Crop.START
    fixed: bool = False
    policy: MaskingPolicy = field(default_factory=MaskingPolicy)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        epoch, place = divmod(index, len(self.store))
        record = place if self.fixed else int(_order(self.seed, epoch, len(self.store))[place])
        key = [self.seed, 0 if self.fixed else epoch, record]
        generator = np.random.default_rng(key)
        tokens = self._tokens(record, generator)
        inputs, chosen = mask_tokens(tokens, generator, self.policy)
        if self.fixed and epoch:
            chosen[:] = False
        return Sample(inputs, tokens, chosen)

    def _tokens(self, record: int, generator: np.random.Generator) -> NDArray[np.int64]:
        residues = self.store[record]
        surplus = len(residues) - self.max_residues
        if surplus > 0:
            start = int(generator.integers(surplus + 1)) if self.crop is Crop.RANDOM else 0
            residues = residues[start : start + self.max_residues]
        alphabet = self.store.alphabet
        return np.concatenate(([alphabet.bos_id], residues, [alphabet.eos_id])).astype(np.int64)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(size)
