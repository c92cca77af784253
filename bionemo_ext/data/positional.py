"""Arrays in files, read place by place.

A memory map would do, but for one thing: Linux maps large pages of the file cache, 2 MB for each
place that is touched, and a shuffled pass over a store soon has all of it resident. A positional
read takes about as long as a page fault and leaves nothing behind. The formats are those of
``numpy.save`` and of Megatron-core's ``IndexedDataset``, so both can map the same files.
"""

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import DataError

_INDEX_HEADER = struct.Struct("<9sQBQQ")  # magic, version, kind of token, sequences, documents
_MAGIC, _VERSION, _UINT8 = b"MMIDIDX\x00\x00", 1, 1


class PositionalArray:
    """One array of a file.

    Parameters
    ----------
    path : Path
        The file.
    dtype : numpy.dtype
        Type of its numbers.
    begin : int
        Byte at which the array begins.
    length : int
        Its numbers.
    """

    def __init__(self, path: Path, dtype: np.dtype, begin: int, length: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._dtype, self._begin, self._length = np.dtype(dtype), begin, length
        self._fd = self._file.fileno()
        if hasattr(os, "posix_fadvise"):  # to read ahead would be in vain
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_RANDOM)

    @classmethod
    def of_npy(cls, path: Path) -> "PositionalArray":
        """Open what ``numpy.save`` wrote of an array with one axis.

        Raises
        ------
        DataError
            If it is not that.
        """
        try:
            mapped = np.load(path, mmap_mode="r")
            return cls(path, mapped.dtype, mapped.offset, mapped.size)
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is not an array of numpy: {error}") from None

    def __len__(self) -> int:
        return self._length

    def read(self, start: int, count: int) -> NDArray:
        """``count`` numbers from ``start`` on."""
        size = self._dtype.itemsize
        found = os.pread(self._fd, count * size, self._begin + start * size)
        return np.frombuffer(found, self._dtype)

    def take(self, places: NDArray[np.int64], width: int = 1) -> NDArray:
        """Give ``width`` numbers from each of ``places`` on, shape [B] or [B, width]."""
        size, begin, fd, pread = self._dtype.itemsize, self._begin, self._fd, os.pread
        found = [pread(fd, width * size, begin + place * size) for place in places.tolist()]
        numbers = np.frombuffer(b"".join(found), self._dtype)
        return numbers if width == 1 else numbers.reshape(-1, width)


class IndexedSequences:
    """Sequences in the files of Megatron-core's ``IndexedDataset``, of one byte a token.

    Parameters
    ----------
    prefix : Path
        What ``.bin`` and ``.idx`` are appended to.

    Raises
    ------
    DataError
        If they are not such files.
    """

    def __init__(self, prefix: Path) -> None:
        index = Path(f"{prefix}.idx")
        with index.open("rb") as file:
            header = file.read(_INDEX_HEADER.size)
        try:
            magic, version, kind, count, _ = _INDEX_HEADER.unpack(header)
        except struct.error:
            raise DataError(f"{index} is not an index of Megatron-core") from None
        if (magic, version, kind) != (_MAGIC, _VERSION, _UINT8):
            raise DataError(f"{index} is not an index of Megatron-core with one byte a token")
        begin = _INDEX_HEADER.size
        data = Path(f"{prefix}.bin")
        self.lengths = PositionalArray(index, np.int32, begin, count)
        self._begins = PositionalArray(index, np.int64, begin + 4 * count, count)
        self.ids = PositionalArray(data, np.uint8, 0, data.stat().st_size)

    def __len__(self) -> int:
        return len(self.lengths)

    def begins(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the ids of records begin."""
        return self._begins.take(records)
