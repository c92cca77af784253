"""An encoded FASTA file on disk, the half-way house between a download and a store.

``ids.bin``
    Token ids of all records end to end.
``lengths.npy``, ``numbers.npy``
    Residues of each record, shape [N], and the numbers of their names, shape [N, 2].
``names.txt``
    The names themselves, a line each.
``facts.json``
    The source with its checksum, and what was counted.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import cached_property
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.counter import Bits
from bionemo_ext.data.progress import Bar
from bionemo_ext.data.uniref.encode import Source, Tally, encode_fasta
from bionemo_ext.sequences import Alphabet

_LINES = 1 << 16


class Encoded:
    """Records of a FASTA file, encoded.

    Parameters
    ----------
    folder : Path
        What :meth:`make` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())

    @classmethod
    def make(cls, fasta: Path, alphabet: Alphabet, folder: Path, bar: Bar) -> "Encoded":
        """Encode a file into a folder, which is there in the end only; a whole one is kept."""
        if folder.exists():
            return cls(folder)
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tally, lengths, numbers = Tally(), [], []
        total = fasta.stat().st_size if fasta.is_file() else None
        with bar(f"reading {fasta.name}", total, "B") as advance:
            source = Source(fasta, advance)
            with (partial / "ids.bin").open("wb") as ids, (partial / "names.txt").open("wb") as txt:
                for block in encode_fasta(source, alphabet, tally):
                    ids.write(block.ids)
                    txt.writelines(name + b"\n" for name in block.names)
                    lengths.append(block.lengths)
                    numbers.append(block.numbers)
        np.save(partial / "lengths.npy", np.concatenate(lengths))
        np.save(partial / "numbers.npy", np.concatenate(numbers))
        facts = {"source": source.facts(), **asdict(tally)}
        (partial / "facts.json").write_text(json.dumps(facts))
        partial.rename(folder)
        return cls(folder)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Residues of each record."""
        return np.load(self._folder / "lengths.npy")

    @property
    def counts(self) -> dict[str, int]:
        """What was read, changed and left out."""
        return {one.name: self.facts[one.name] for one in fields(Tally)}

    @property
    def numbers(self) -> Bits:
        """Numbers of the names."""
        return np.load(self._folder / "numbers.npy")

    def blocks(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[bytes, NDArray[np.int32]]]:
        """Ids and lengths of the wanted records, in order, some megabytes at a time."""
        with (self._folder / "ids.bin").open("rb") as file:
            for start, stop in spans(self.lengths):
                lengths, kept = self.lengths[start:stop], wanted[start:stop]
                ids = np.frombuffer(file.read(int(lengths.sum())), np.uint8)
                if not kept.all():
                    ids, lengths = ids[np.repeat(kept, lengths)], lengths[kept]
                yield ids.tobytes(), lengths

    def names(self, wanted: NDArray[np.bool_]) -> Iterator[bytes]:
        """Names of the wanted records, each with its line end, in order."""
        with (self._folder / "names.txt").open("rb") as file:
            for start in range(0, len(wanted), _LINES):
                yield from compress(islice(file, _LINES), wanted[start : start + _LINES])


def spans(lengths: NDArray[np.int32], residues: int = 1 << 24) -> Iterator[tuple[int, int]]:
    """Ranges of sequences of about ``residues`` together, in order, until all are covered."""
    ends = np.cumsum(lengths, dtype=np.int64)
    start = 0
    while start < len(ends):
        reached = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, reached + residues, side="right")))
        yield start, stop
        start = stop
