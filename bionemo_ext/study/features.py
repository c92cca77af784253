"""Compressed embeddings on disk: one file for an encoder and a list of proteins.

``<out>/features/<model>/<digest of the proteins>.npz`` holds an array [N, D] a method, and what it
was made of. A file is whole or not there.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bionemo_ext import __version__
from bionemo_ext.study.compression import Array, compress
from bionemo_ext.study.sources import Embedded, Source
from bionemo_ext.whole import whole

_KEY = "key"
# Proteins that a worker gets at once: few enough to be spread, enough to be worth sending.
_CHUNK = 32
# Chunks that wait to be compressed; they are in memory.
_PENDING = 4


@dataclass(frozen=True)
class Features:
    """What regressions learn from.

    Parameters
    ----------
    path : Path
        The file; arrays are read from it one at a time.
    """

    path: Path

    def read(self, method: str) -> Array:
        """Vectors of a method, FP32 [N, D]."""
        with np.load(self.path) as arrays:
            found: Array = arrays[method]
        return found


def prepare(
    folder: Path,
    source: Source,
    sequences: Sequence[str],
    methods: Sequence[str],
    pool: Executor,
    advance: Callable[[int], None],
) -> Features:
    """Embed and compress proteins, unless that was done before.

    Parameters
    ----------
    folder : Path
        Where features lie.
    source : Source
        What embeds.
    sequences : sequence of str
        N proteins; equal ones are embedded once.
    methods : sequence of str
        Of :data:`bionemo_ext.study.compression.METHODS`.
    pool : Executor
        Compresses beside the embedding.
    advance : callable
        Told of residues done.
    """
    digest = hashlib.sha256("\n".join(sequences).encode()).hexdigest()
    path = folder / source.name / f"{digest[:16]}.npz"
    key = {"version": __version__, "source": source.identity, "proteins": digest}
    key |= {"methods": sorted(methods)}
    unique = list(dict.fromkeys(sequences))
    if _is_finished(path, key):
        advance(sum(map(len, unique)))
        return Features(path)
    rows = _compute(source, unique, methods, pool, advance)
    arrays = {m: np.stack([rows[sequence][m] for sequence in sequences]) for m in methods}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays, **{_KEY: np.array(json.dumps(key))})
    return Features(path)


def _is_finished(path: Path, key: dict[str, Any]) -> bool:
    """Whether the features that lie there are these, perhaps by more methods."""
    try:
        with np.load(path) as arrays:
            there = json.loads(str(arrays[_KEY]))
            more = set(there.pop("methods")) >= set(key["methods"])
            return more and there == {name: key[name] for name in key if name != "methods"}
    except (OSError, ValueError, KeyError, BadZipFile):
        return False


def _compute(
    source: Source,
    sequences: Sequence[str],
    methods: Sequence[str],
    pool: Executor,
    advance: Callable[[int], None],
) -> dict[str, dict[str, Array]]:
    """Vectors by sequence and method."""
    found: dict[str, dict[str, Array]] = {}
    pending: deque[Future[list[tuple[int, dict[str, Array]]]]] = deque()

    def take() -> None:
        found.update((sequences[index], vectors) for index, vectors in pending.popleft().result())

    for chunk in _chunked(source.embed(sequences), _CHUNK):
        pending.append(pool.submit(_compress_all, chunk, tuple(methods)))
        while len(pending) > _PENDING:
            take()
        advance(sum(len(residues) for _, residues, _ in chunk))
    while pending:
        take()
    return found


def _chunked(items: Iterable[Embedded], size: int) -> Iterator[list[Embedded]]:
    """Cut into lists of ``size``."""
    it = iter(items)
    while chunk := list(islice(it, size)):
        yield chunk


def _compress_all(
    chunk: list[Embedded], methods: tuple[str, ...]
) -> list[tuple[int, dict[str, Array]]]:
    return [(index, compress(residues, cls, methods)) for index, residues, cls in chunk]
