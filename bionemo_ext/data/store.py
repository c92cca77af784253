"""Sequences held ready for training: one byte a residue and where each sequence begins."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.counter import Bits
from bionemo_ext.errors import DataError
from bionemo_ext.sequences import ESM2, Alphabet, SequencePolicy, read_fasta

_FASTA_ENDINGS = (".fasta", ".fa", ".faa")
_COMPRESSED_ENDINGS = (".gz", ".bz2", ".xz", ".zst")


class Crop(str, Enum):
    """Where a sequence over the limit is cut."""

    START = "start"
    RANDOM = "random"


@dataclass(frozen=True)
class SequenceStore:
    """Token ids of many sequences end to end in memory; a ``ProteinSource``.

    Parameters
    ----------
    ids : array of uint8
        Residue ids of all sequences, without ``bos`` and ``eos``.
    offsets : array of int64
        Sequence i is ``ids[offsets[i]:offsets[i + 1]]``.
    alphabet : Alphabet
        What the ids mean.
    """

    ids: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    alphabet: Alphabet = ESM2

    @classmethod
    def from_sequences(cls, sequences: Iterable[str], alphabet: Alphabet = ESM2) -> "SequenceStore":
        """Hold sequences that are clean already."""
        return cls._join(
            [alphabet.encode_residues(s).astype(np.uint8) for s in sequences], alphabet
        )

    @classmethod
    def _join(cls, parts: list[NDArray[np.uint8]], alphabet: Alphabet) -> "SequenceStore":
        offsets = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(np.concatenate([*parts, np.empty(0, np.uint8)]), offsets, alphabet)

    @classmethod
    def from_fasta(cls, path: Path, alphabet: Alphabet = ESM2) -> "SequenceStore":
        """Read a FASTA file, or all of a folder's in the order of their names.

        Letters outside the alphabet become ``X``: one odd record does not stop a training run.

        Raises
        ------
        DataError
            If the folder holds no FASTA file.
        FastaError
            If a file cannot be read.
        """
        policy = SequencePolicy(alphabet, unknown_to_x=True)
        files = fasta_files(path)
        return cls.from_sequences(
            (record.sequence for f in files for record in read_fasta(f, policy)), alphabet
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def draw(self, clusters: NDArray[np.int64], bits: Bits) -> NDArray[np.int64]:
        """Every sequence is a cluster of its own."""
        return clusters

    def lengths(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Residues of each record."""
        return self.offsets[records + 1] - self.offsets[records]

    def read(
        self, records: NDArray[np.int64], starts: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> list[NDArray[np.uint8]]:
        """Token ids of ``counts`` residues of each record from ``starts`` on."""
        begins = self.offsets[records] + starts
        return [self.ids[a:b] for a, b in zip(begins, begins + counts, strict=True)]

    def select(self, indices: NDArray[np.int64]) -> "SequenceStore":
        """Return a store of some of the sequences, in the given order."""
        return self._join([self[i] for i in indices], self.alphabet)

    def split(self, fraction: float, seed: int) -> tuple["SequenceStore", "SequenceStore"]:
        """Set a random ``fraction`` aside (one sequence at least): (the rest, the part set aside).

        Raises
        ------
        DataError
            If nothing would be left.
        """
        aside = max(1, round(fraction * len(self)))
        if aside >= len(self):
            raise DataError(f"{len(self)} sequences are too few to set {fraction:.0%} aside")
        order = np.random.default_rng([seed, len(self)]).permutation(len(self))
        return self.select(np.sort(order[aside:])), self.select(np.sort(order[:aside]))


def fasta_files(path: Path) -> list[Path]:
    """Name the FASTA files of a folder in order, or the one file that a path is.

    Raises
    ------
    DataError
        If the folder holds none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(f for f in path.iterdir() if _is_fasta(f))
    if not files:
        endings = ", ".join(_FASTA_ENDINGS)
        raise DataError(f"the folder {path} has no FASTA file ({endings})")
    return files


def _is_fasta(path: Path) -> bool:
    name = Path(path.name.lower())
    plain = name.stem if name.suffix in _COMPRESSED_ENDINGS else name.name
    return path.is_file() and plain.endswith(_FASTA_ENDINGS)
