"""Masked sequences as a stream that is a function of (seed, epoch, index) alone.

There is no state to save: resuming needs the number of samples seen, and any number of workers
gives the same stream. Shape letters: B samples, L tokens of a sequence, T tokens of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bionemo_ext.data.counter import Bits, below, combine
from bionemo_ext.data.masking import MaskingPolicy, mask_tokens
from bionemo_ext.data.permutation import shuffled
from bionemo_ext.data.source import ProteinSource
from bionemo_ext.data.store import Crop

_AT_ONCE = 128  # samples; more of them no longer pay for the memory that their arrays take
_ORDER, _SAMPLE = range(2)  # what a key is for
_MEMBER, _CROP, _MASK = range(3)


@dataclass(frozen=True)
class Sample:
    """One masked sequence: inputs, labels and where the labels count, each of shape [L]."""

    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]
    chosen: NDArray[np.bool_]


@dataclass(frozen=True)
class MaskedDataset(Dataset[Sample]):
    """Sample i of an endless training stream, or of a fixed validation set.

    Every epoch visits each cluster once, in a shuffled order, and draws one of its members.

    Parameters
    ----------
    store : ProteinSource
        The sequences; their alphabet is that of the samples.
    length : int
        Samples there are. Beyond the store's size a new epoch begins, shuffled and masked anew.
    seed : int
        With epoch and index decides order, member, crop and mask.
    max_residues : int
        Longer sequences are cropped.
    crop : Crop
        Where.
    fixed : bool
        Keep the store's order and one mask (validation); samples beyond the store count nowhere.
    policy : MaskingPolicy
        The shares of masking.
    """

    store: ProteinSource
    length: int
    seed: int
    max_residues: int
    crop: Crop = Crop.START
    fixed: bool = False
    policy: MaskingPolicy = field(default_factory=MaskingPolicy)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Samples in the order of ``indices``, each as it would be if it were asked for alone.

        Raises
        ------
        IndexError
            If there is no such sample.
        """
        asked = np.asarray(indices, dtype=np.int64)
        if asked.size and not (asked.min() >= 0 and asked.max() < self.length):
            raise IndexError(f"there are samples 0 to {self.length - 1}")
        parts = (asked[i : i + _AT_ONCE] for i in range(0, len(asked), _AT_ONCE))
        return [sample for part in parts for sample in self._samples(part)]

    def _samples(self, indices: NDArray[np.int64]) -> list[Sample]:
        epochs, places = np.divmod(indices, len(self.store))
        clusters, beyond = places, epochs > 0
        if self.fixed:
            epochs = np.zeros_like(epochs)
        else:
            clusters = shuffled(places, len(self.store), combine(self.seed, _ORDER, epochs))
        keys = combine(self.seed, _SAMPLE, epochs, places)
        tokens, offsets = self._tokens(clusters, keys)
        mask_keys = combine(keys, _MASK)
        inputs, chosen = mask_tokens(tokens, offsets, mask_keys, self.store.alphabet, self.policy)
        if self.fixed:
            chosen[np.repeat(beyond, np.diff(offsets))] = False
        spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        return [Sample(inputs[a:b], tokens[a:b], chosen[a:b]) for a, b in spans]

    def _tokens(
        self, clusters: NDArray[np.int64], keys: Bits
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw a member of each cluster and crop it: tokens [T] and offsets [B + 1]."""
        records = self.store.draw(clusters, combine(keys, _MEMBER))
        lengths = self.store.lengths(records)
        counts = np.minimum(lengths, self.max_residues)
        starts = np.zeros_like(counts)
        if self.crop is Crop.RANDOM:
            starts = below(combine(keys, _CROP), lengths - counts + 1)
        offsets = np.concatenate(([0], np.cumsum(counts + 2)))
        tokens = np.empty(offsets[-1], dtype=np.int64)
        tokens[offsets[:-1]] = self.store.alphabet.bos_id
        tokens[offsets[1:] - 1] = self.store.alphabet.eos_id
        parts = self.store.read(records, starts, counts)
        for at, part in zip((offsets[:-1] + 1).tolist(), parts, strict=True):
            tokens[at : at + len(part)] = part
        return tokens, offsets
