"""npz files that are larger than memory."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray


class NpzFile:
    """An npz that is written array by array, each of them in pieces; ``numpy.load`` reads it.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._zip.close()

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Write an array that is in memory."""
        with self._member(name) as file:
            npy.write_array(file, array, allow_pickle=False)

    def stream(
        self, name: str, shape: tuple[int, ...], dtype: DTypeLike, pieces: Iterable[NDArray[Any]]
    ) -> None:
        """Write an array of which a piece at a time is in memory.

        Parameters
        ----------
        name : str
            The array's key.
        shape : tuple of int
            Of the whole.
        dtype : dtype
            Of the whole; pieces are cast to it.
        pieces : iterable of NDArray
            Its values end to end, in C order.

        Raises
        ------
        ValueError
            If the pieces have more or fewer values than ``shape``.
        """
        kind = np.dtype(dtype)
        header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        left = int(np.prod(shape, dtype=np.int64))
        with self._member(name) as file:
            npy.write_array_header_1_0(file, header)
            for piece in pieces:
                left -= piece.size
                file.write(np.ascontiguousarray(piece, dtype=kind).data)
        if left:
            raise ValueError(f"{name!r} of shape {shape} has {-left:+,} values")

    def _member(self, name: str) -> IO[bytes]:
        return self._zip.open(f"{name}.npy", "w", force_zip64=True)
