"""Counts, lengths and residue frequencies of a data set, whatever holds it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.cluster_store import ClusterStore
from bionemo_ext.data.folder import is_store, read_description, table_paths
from bionemo_ext.data.opening import check_data
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.sequences import ESM2, Alphabet

_BIN = 50  # residues
_LONGEST_BIN = 2000
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Figures:
    """What is told of one set.

    Parameters
    ----------
    sequences, residues : int
        How many.
    lengths : dict
        ``min``, ``q1``, ``median``, ``q3``, ``max`` and ``mean``, in residues.
    histogram : dict
        Sequences by length: ``edges`` of bins of 50 residues, the last without an end, ``counts``.
    frequencies : dict
        Share of each letter that occurs.
    clusters : int
        What an epoch visits once.
    members : dict
        ``min``, ``median``, ``max`` and ``mean`` members of a cluster.
    tokens_per_epoch : int
        Expected tokens of one epoch at ``crop`` residues, with ``bos`` and ``eos``.
    crop : int
        Residues to which longer sequences are cut.
    """

    sequences: int
    residues: int
    lengths: dict[str, float]
    histogram: dict[str, list[int]]
    frequencies: dict[str, float]
    clusters: int
    members: dict[str, float]
    tokens_per_epoch: int
    crop: int


def measure(path: Path, crop: int = ESM2.max_residues, bar: Bar = silent) -> dict[str, Any]:
    """Figures of every set of a store, a FASTA file or a folder of them.

    Returns
    -------
    dict
        ``path``, ``alphabet``, ``kind`` and ``sets``: name to :class:`Figures`. A FASTA file is one
        set, ``all``.

    Raises
    ------
    DataError, FastaError
        If it cannot be read.
    """
    if not is_store(path):
        check_data(path)
        store = SequenceStore.from_fasta(path)
        lengths, rows = np.diff(store.offsets), np.arange(len(store) + 1)
        with bar("counting residues", len(store.ids), "residues") as advance:
            counts = _letters(store.ids, advance)
        figures = _figures(lengths, rows, np.arange(len(store)), counts, crop, ESM2)
        return {"path": str(path), "kind": "fasta", "alphabet": ESM2.name, "sets": {"all": figures}}
    described = read_description(path)
    sets = {name: _of_part(path, name, crop, bar) for name in described["sets"]}
    alphabet = described["alphabet"]["name"]
    return {"path": str(path), "kind": described["kind"], "alphabet": alphabet, "sets": sets}


def _of_part(folder: Path, part: str, crop: int, bar: Bar) -> Figures:
    store = ClusterStore(folder, part)
    lengths = store.sequences.lengths.read(0, len(store.sequences)).astype(np.int64)
    offsets, members = np.arange(len(lengths) + 1), np.arange(len(lengths))
    if store.clustered:
        offsets, members = (np.load(p, mmap_mode="r") for p in table_paths(folder, part))
    ids = np.memmap(folder / f"{part}.bin", mode="r")
    with bar(f"counting residues of {part}", len(ids), "residues") as advance:
        counts = _letters(ids, advance)
    return _figures(lengths, offsets, members, counts, crop, store.alphabet)


def _letters(ids: NDArray[np.uint8], advance: Any) -> NDArray[np.int64]:
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(ids), _AT_ONCE):
        block = ids[start : start + _AT_ONCE]
        counts += np.bincount(block, minlength=256)
        advance(len(block))
    return counts


def _figures(
    lengths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    members: NDArray[np.int64],
    counts: NDArray[np.int64],
    crop: int,
    alphabet: Alphabet,
) -> Figures:
    quartiles = np.percentile(lengths, [0, 25, 50, 75, 100]).tolist()
    names = ("min", "q1", "median", "q3", "max")
    edges = np.arange(0, _LONGEST_BIN + 1, _BIN)
    places = np.minimum(lengths // _BIN, len(edges) - 1)
    sizes = np.diff(offsets)
    # A draw of a cluster has the mean length of its members.
    tokens = np.minimum(lengths, crop)[members] + 2.0
    total = int(counts.sum())
    return Figures(
        len(lengths),
        total,
        {**dict(zip(names, quartiles, strict=True)), "mean": round(float(lengths.mean()), 2)},
        {"edges": edges.tolist(), "counts": np.bincount(places, minlength=len(edges)).tolist()},
        {t: counts[alphabet.ids[t]] / total for t in alphabet.residues if counts[alphabet.ids[t]]},
        len(sizes),
        {
            "min": int(sizes.min()),
            "median": float(np.median(sizes)),
            "max": int(sizes.max()),
            "mean": round(float(sizes.mean()), 3),
        },
        round(float((np.add.reduceat(tokens, offsets[:-1]) / sizes).sum())),
        crop,
    )
