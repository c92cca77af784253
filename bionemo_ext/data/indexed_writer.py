"""Sequences into Megatron-core's indexed dataset, block by block."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from megatron.core.datasets.indexed_dataset import _IndexWriter, get_bin_path, get_idx_path
from numpy.typing import NDArray


class _IndexOfArrays(_IndexWriter):
    """Megatron's writer adds lengths up one by one, in Python numbers; arrays do it at once."""

    def _sequence_pointers(self, sequence_lengths: NDArray[np.int32]) -> NDArray[np.int64]:
        ends = np.cumsum(sequence_lengths, dtype=np.int64)
        return ends - sequence_lengths


def write_part(folder: Path, part: str, blocks: Iterable[tuple[bytes, NDArray[np.int32]]]) -> int:
    """Write an indexed dataset from blocks of token ids and their sequences' lengths.

    Returns
    -------
    int
        Residues written.
    """
    prefix, residues = str(folder / part), 0
    lengths = [np.empty(0, np.int32)]
    with Path(get_bin_path(prefix)).open("wb") as file:
        for ids, counts in blocks:
            file.write(ids)
            lengths.append(counts)
            residues += len(ids)
    joined = np.concatenate(lengths)
    with _IndexOfArrays(get_idx_path(prefix), np.uint8) as writer:
        writer.write(joined, None, np.arange(len(joined) + 1))
    return residues
