"""Results a group at a time, their arrays put together: what files of embeddings are made of."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.results import Result
from bionemo_ext.contract import RESIDUES

# What is written at once: records, and bytes of their arrays.
_GROUP = 256
_GROUP_BYTES = 16 << 20


def grouped(results: Iterable[Result]) -> Iterator[list[Result]]:
    """Yield results in groups that are small enough to be held in memory."""
    group: list[Result] = []
    held = 0
    for result in results:
        group.append(result)
        held += sum(array.nbytes for array in result.values.values())
        if len(group) == _GROUP or held >= _GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def embedding_columns(group: list[Result], pooling: str) -> dict[str, NDArray[Any]]:
    """Put the arrays of some results together, as ``docs/client.md`` names them.

    Returns
    -------
    dict of str to NDArray
        Of N results with R residues: [N], ``embeddings`` [N, H] and perhaps ``residues`` [R, H].
    """
    columns: dict[str, NDArray[Any]] = {
        "names": np.array([result.name for result in group]),
        "lengths": np.array([result.length for result in group], dtype=np.int32),
        "embedded": np.array([len(result.sequence) for result in group], dtype=np.int32),
        "windows": np.array([result.windows for result in group], dtype=np.int32),
        "embeddings": np.stack([result.values[pooling] for result in group]),
    }
    if RESIDUES in group[0].values:
        columns["residues"] = np.concatenate([result.values[RESIDUES] for result in group])
    return columns


def residue_offsets(embedded: NDArray[Any]) -> NDArray[np.int64]:
    """Where the rows of each record begin among those of all, and where the last end: [N + 1]."""
    return np.concatenate(([0], np.cumsum(embedded, dtype=np.int64)))
