"""Arrays as the bytes of a file. N sequences, L residues of the longest, H hidden size."""

import io
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


class Format(str, Enum):
    """The files that an answer may be."""

    NPZ = "npz"
    H5 = "h5"


MEDIA_TYPES: Mapping[Format, str] = {
    Format.NPZ: "application/octet-stream",
    Format.H5: "application/x-hdf5",
}


def padded(rows: Sequence[NDArray[np.float32]], fill: float = 0) -> NDArray[np.float32]:
    """Put arrays [L_i, ...] of several lengths into one, [N, L, ...], filled up at their ends."""
    longest = max(len(row) for row in rows)
    whole = np.full((len(rows), longest, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for place, row in zip(whole, rows, strict=True):
        place[: len(row)] = row
    return whole


def as_file(arrays: Mapping[str, NDArray[Any]], kind: Format) -> memoryview:
    """Write arrays as an npz or HDF5 file of one entry or data set each."""
    buffer = io.BytesIO()
    if kind is Format.NPZ:
        np.savez(buffer, **arrays)
    else:
        with h5py.File(buffer, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return buffer.getbuffer()
