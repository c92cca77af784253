"""A store on disk: clusters of sequences, of which a draw takes one member."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.counter import Bits, below
from bionemo_ext.data.folder import TRAIN, alphabet_of, read_description, table_paths
from bionemo_ext.data.positional import IndexedSequences, PositionalArray
from bionemo_ext.errors import DataError


class ClusterStore:
    """One part of a store's folder; a ``ProteinSource``.

    Nothing of it is held in memory, however many sequences there are. Copies for other processes
    open it anew.

    Parameters
    ----------
    folder : Path
        The store.
    part : str
        ``train``, ``validation`` or ``test``.

    Raises
    ------
    DataError
        If the store is damaged or has no such part.
    """

    def __init__(self, folder: Path, part: str = TRAIN) -> None:
        described = read_description(folder)
        parts = described["sets"]
        if part not in parts:
            raise DataError(f"the store {folder} has no {part} set, only {', '.join(parts)}")
        self.folder, self.part = folder, part
        self.alphabet = alphabet_of(described, folder)
        self.sequences = IndexedSequences(folder / part)
        offsets, members = table_paths(folder, part)
        self.clustered = offsets.exists()
        if self.clustered:
            self._offsets, self._members = map(PositionalArray.of_npy, (offsets, members))

    def __reduce__(self) -> tuple[type["ClusterStore"], tuple[Path, str]]:
        return type(self), (self.folder, self.part)

    def __len__(self) -> int:
        return len(self._offsets) - 1 if self.clustered else len(self.sequences)

    def members(self, cluster: int) -> NDArray[np.int64]:
        """Records of a cluster."""
        if not self.clustered:
            return np.array([cluster])
        begin, end = self._offsets.read(cluster, 2).tolist()
        return self._members.read(begin, end - begin)

    def draw(self, clusters: NDArray[np.int64], bits: Bits) -> NDArray[np.int64]:
        """One member of each cluster, all alike likely."""
        if not self.clustered:
            return clusters
        begins, ends = self._offsets.take(clusters, 2).T
        return self._members.take(begins + below(bits, ends - begins))

    def lengths(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Residues of each record."""
        return self.sequences.lengths.take(records).astype(np.int64)

    def read(
        self, records: NDArray[np.int64], starts: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> list[NDArray[np.uint8]]:
        """Token ids of ``counts`` residues of each record from ``starts`` on."""
        begins = (self.sequences.begins(records) + starts).tolist()
        read = self.sequences.ids.read
        return [read(begin, count) for begin, count in zip(begins, counts.tolist(), strict=True)]
