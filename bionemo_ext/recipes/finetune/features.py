"""What a head is trained on: a frozen encoder's embeddings, or what a sequence says by itself.

Shapes: L residues, F features.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.errors import RunError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.packing import Encoded
from bionemo_ext.inference.task import TaskSpec
from bionemo_ext.recipes.finetune.cache import RESIDUES, CacheKey, EmbeddingCache
from bionemo_ext.sequences import ESM2


class Features(Protocol):
    """Features of any sequence."""

    width: int

    def __call__(self, sequence: str) -> Tensor:
        """[F] a sequence, or [L, F] a residue; fp32."""


class Embeds(Protocol):
    """What a cache is filled by: an encoder on one device, or one that is spread over ranks."""

    def embed(
        self, sequences: Sequence[str], max_tokens: int
    ) -> Iterator[tuple[list[int], Encoded]]:
        """See :meth:`Encoder.embed`."""


class OneHot:
    """A column a letter, [L, 25]."""

    width = len(ESM2.residues)
    _columns = torch.full((256,), -1)
    _columns[[ord(letter) for letter in ESM2.residues]] = torch.arange(width)

    def __call__(self, sequence: str) -> Tensor:
        """One-hot rows of the residues."""
        letters = torch.frombuffer(bytearray(sequence, "ascii"), dtype=torch.uint8).long()
        return torch.nn.functional.one_hot(self._columns[letters], self.width).float()


class Composition:
    """Share of each letter, [25]."""

    width = OneHot.width
    _one_hot = OneHot()

    def __call__(self, sequence: str) -> Tensor:
        """Mean of the one-hot rows."""
        return self._one_hot(sequence).mean(0)


class Embeddings:
    """A cache's rows as a head takes them.

    Parameters
    ----------
    cache : EmbeddingCache
        Holds every sequence that will be asked for, see :func:`fill`.
    """

    def __init__(self, cache: EmbeddingCache) -> None:
        self.cache, self.width = cache, cache.key.hidden

    def __call__(self, sequence: str) -> Tensor:
        """[H] of a pooled cache, [L, H] of one of residues."""
        rows = self.cache[sequence]
        return rows if self.cache.key.pooling == RESIDUES else rows[0]


def cache_folder(given: str | None) -> Path:
    """Where embeddings are kept: as given, else in the user's cache folder."""
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "bionemo-ext" / "embeddings"


def open_cache(root: Path, spec: TaskSpec, arithmetic: str, dtype: str) -> EmbeddingCache:
    """Open the cache of a task's encoder and of what its head takes of it."""
    pooling = RESIDUES if spec.sees_residues else spec.pooling.value
    return EmbeddingCache(
        root, CacheKey(spec.encoder_digest, arithmetic, pooling, dtype, spec.input_size)
    )


def fill(
    cache: EmbeddingCache,
    load: Callable[[], Embeds],
    sequences: Sequence[str],
    max_tokens: int,
    bar: Bar = silent,
) -> None:
    """Embed the sequences that the cache lacks; a killed run loses its last seconds alone.

    Parameters
    ----------
    cache : EmbeddingCache
        Whose key says what of an embedding is kept.
    load : callable
        Gives the encoder; not called where nothing is missing.
    sequences : sequence of str
        Clean, and within the encoder's limit.
    max_tokens : int
        Tokens that go through the encoder at a time.
    bar : Bar
        Is told of residues.

    Raises
    ------
    RunError
        If the disk has no room.
    """
    todo = cache.missing(sequences)
    if not todo:
        return
    check_room(cache, todo)
    encoder = load()
    with cache.writing() as writer:
        todo = cache.missing(todo)  # another process may have added some meanwhile
        with bar("embedding", sum(map(len, todo)), "residues") as advance:
            for indices, encoded in encoder.embed(todo, max_tokens):
                for index, rows in zip(indices, _rows(cache, encoded), strict=True):
                    writer.add(todo[index], rows)
                advance(sum(len(todo[index]) for index in indices))


def _rows(cache: EmbeddingCache, encoded: Encoded) -> list[Tensor]:
    if cache.key.pooling == RESIDUES:
        return encoded.residues()
    return list(getattr(encoded, cache.key.pooling)()[:, None])


def check_room(cache: EmbeddingCache, todo: Sequence[str]) -> None:
    """See that the disk has room for the rows of these sequences.

    Raises
    ------
    RunError
        If it has not.
    """
    needed, free = cache.bytes_for(todo), shutil.disk_usage(cache.folder).free
    if needed > free:
        raise RunError(
            f"embeddings need {needed / 1e9:,.1f} GB in {cache.folder}, which has "
            f"{free / 1e9:,.1f} GB; cache.dtype=float16 halves them, cache.folder= puts them "
            "elsewhere"
        )


def load_encoder(folder: Path, arithmetic: str) -> Encoder:
    """Load a frozen encoder where it runs fastest.

    Raises
    ------
    CheckpointError
        See :meth:`Encoder.load`.
    """
    return Encoder.load(folder, arithmetic, "cuda" if torch.cuda.is_available() else "cpu")
