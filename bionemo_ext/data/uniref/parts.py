"""Encoded records to the files of a store."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext import __version__
from bionemo_ext.data.folder import (
    TRAIN,
    Description,
    describe_alphabet,
    names_path,
    table_paths,
    write_description,
)
from bionemo_ext.data.progress import Advance, Bar
from bionemo_ext.data.uniref.encoded import Encoded
from bionemo_ext.data.uniref.workplace import Workplace
from bionemo_ext.sequences import Alphabet

Chosen = tuple[Encoded, NDArray[np.bool_]]
"""Some records of a FASTA file."""


@dataclass(frozen=True)
class Part:
    """A set of a store.

    Parameters
    ----------
    name : str
        ``train``, ``validation`` or ``test``.
    chosen : list
        Its records, one FASTA file after the other.
    clusters : array of int64, optional
        Cluster of each record, in any numbering; without it each record is one, and its name is
        written too (not of the training set).
    """

    name: str
    chosen: list[Chosen]
    clusters: NDArray[np.int64] | None = None
    total: int = field(init=False)

    def __post_init__(self) -> None:
        total = sum(int(mask.sum()) for _, mask in self.chosen)
        object.__setattr__(self, "total", total)


def write_store(
    work: Workplace, parts: list[Part], alphabet: Alphabet, described: Description, bar: Bar
) -> Description:
    """Write all sets and the description, and put the store in its place."""
    # Megatron takes seconds to import; what is wrong with the input is told before.
    from bionemo_ext.data.indexed_writer import write_part

    folder = work.empty("store")
    sets: dict[str, Any] = {}
    for part in parts:
        clusters = part.total
        with bar(f"writing {part.name}", part.total, "sequences") as advance:
            residues = write_part(folder, part.name, _told(part, advance))
        if part.clusters is not None:
            offsets, members = _rows(part.clusters)
            clusters = len(offsets) - 1
            for path, array in zip(table_paths(folder, part.name), (offsets, members), strict=True):
                np.save(path, array)
        elif part.name != TRAIN:
            with names_path(folder, part.name).open("wb") as file:
                for encoded, mask in part.chosen:
                    file.writelines(encoded.names(mask))
        sets[part.name] = {"clusters": clusters, "sequences": part.total, "residues": residues}
    described = {**described, "alphabet": describe_alphabet(alphabet), "sets": sets}
    described["versions"] = {
        "bionemo-ext": __version__,
        **{name: version(name) for name in ("megatron-core", "numpy")},
    }
    described = write_description(folder, described)
    work.finish()
    return described


def fasta_lines(
    encoded: Encoded, mask: NDArray[np.bool_], alphabet: Alphabet, first: int = 0
) -> Iterator[bytes]:
    """FASTA text of some records, each named by its number, counted from ``first``."""
    letters = bytes(ord(t) if len(t) == 1 else ord("X") for t in alphabet.tokens).ljust(256, b"X")
    numbers = iter((np.flatnonzero(mask) + first).tolist())
    for ids, lengths in encoded.blocks(mask):
        text, ends = ids.translate(letters), np.cumsum(lengths)
        for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
            yield b">%d\n%s\n" % (next(numbers), text[start:end])


def _told(part: Part, advance: Advance) -> Iterator[tuple[bytes, NDArray[np.int32]]]:
    for encoded, mask in part.chosen:
        for ids, lengths in encoded.blocks(mask):
            yield ids, lengths
            advance(len(lengths))


def _rows(clusters: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compressed rows of clusters: offsets [C + 1] and members [M], in the clusters' order."""
    members = np.argsort(clusters, kind="stable")
    ordered = clusters[members]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    return np.append(begins, len(members)), members
