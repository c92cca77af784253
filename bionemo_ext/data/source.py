"""What a training stream needs of its data, whatever holds them."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.counter import Bits
from bionemo_ext.sequences import Alphabet


class ProteinSource(Protocol):
    """Clusters of sequences; where nothing was clustered, every sequence is a cluster.

    Letter: B clusters or records asked for at once.
    """

    alphabet: Alphabet

    def __len__(self) -> int:
        """Clusters there are: what an epoch visits once."""

    def draw(self, clusters: NDArray[np.int64], bits: Bits) -> NDArray[np.int64]:
        """One member of each cluster, all alike likely, as ``bits`` decide: records, shape [B]."""

    def lengths(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Residues of each record, shape [B]."""

    def read(
        self, records: NDArray[np.int64], starts: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> list[NDArray[np.uint8]]:
        """Token ids of ``counts`` residues of each record from ``starts`` on."""
