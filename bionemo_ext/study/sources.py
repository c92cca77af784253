"""Where embeddings come from: encoders, and two controls that know no evolution."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.errors import ConfigError
from bionemo_ext.study.compression import Array

RANDOM, COMPOSITION = "random", "composition"
_WIDTH = 64
_PASS_TOKENS = 4096
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")

# Index of a protein, its residues [L, H] and its <cls> [H].
Embedded = tuple[int, Array, Array]


class Source(Protocol):
    """One row of the size question."""

    name: str

    @property
    def identity(self) -> str:
        """What its embeddings depend on beside the sequence."""

    @property
    def max_residues(self) -> int:
        """Longest protein that it takes."""

    @property
    def parameters(self) -> int:
        """Numbers that were learned; 0 of a control."""

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded]:
        """Embed every protein once, in any order."""


@dataclass(frozen=True)
class EncoderSource:
    """A frozen encoder.

    Parameters
    ----------
    name : str
        In tables and folders.
    folder : Path
        A Hugging Face folder.
    layer : int
        As transformers counts its ``hidden_states``; -1 is the last, after the final LayerNorm.
    dtype : str
        Arithmetic.
    device : str
        ``cpu`` or a GPU.
    """

    name: str
    folder: Path
    layer: int = -1
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"

    @property
    def identity(self) -> str:
        """Weights, layer and arithmetic."""
        from bionemo_ext.huggingface import weights_digest

        return f"{weights_digest(self.folder)} {self._layer} {self.dtype}"

    @cached_property
    def max_residues(self) -> int:
        """The limit that it was trained with."""
        return self._architecture.max_residues

    @property
    def parameters(self) -> int:
        """Numbers in its weights."""
        from bionemo_ext.huggingface.shapes import shapes

        return sum(int(np.prod(shape)) for shape in shapes(self._architecture).values())

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded]:
        """Embed in packed batches of like lengths."""
        import torch

        from bionemo_ext.inference.encoder import Encoder
        from bionemo_ext.inference.packing import token_batches

        encoder = Encoder.load(self.folder, self.dtype, self.device)
        for batch in token_batches([len(sequence) + 2 for sequence in sequences], _PASS_TOKENS):
            tokens, offsets = encoder.alphabet.encode_packed([sequences[i] for i in batch])
            packed = torch.from_numpy(tokens)
            ((_, encoded),) = encoder.hidden_states(packed, offsets.tolist(), {self._layer})
            rows = zip(batch, encoded.residues(), encoded.cls(), strict=True)
            yield from ((index, own.cpu().numpy(), cls.cpu().numpy()) for index, own, cls in rows)

    @cached_property
    def _architecture(self) -> "object":
        from bionemo_ext.huggingface import read_config

        return read_config(self.folder)

    @property
    def _layer(self) -> int:
        layers = self._architecture.layers
        if not -layers - 1 <= self.layer <= layers:
            raise ConfigError(
                f"{self.name} has no layer {self.layer}; there are 0 (before the first) to "
                f"{layers}, or -{layers + 1} to -1 from the end"
            )
        return self.layer % (layers + 1)


@dataclass(frozen=True)
class Control:
    """Features without a model: what an encoder must beat, and what must not be learned from.

    ``random`` draws numbers by the sequence, so that nothing can be learned but the test part
    itself: an R2 above 0 is a leak. ``composition`` is one-hot residues, whose mean is the shares
    of the amino acids.
    """

    name: str

    @property
    def identity(self) -> str:
        """Its name, and what would change its numbers."""
        return f"{self.name} {_WIDTH}"

    @property
    def max_residues(self) -> int:
        """No limit of its own: that of ESM-2, so that the rows are the same."""
        return 1022

    @property
    def parameters(self) -> int:
        """None."""
        return 0

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded]:
        """Make up the rows."""
        rows: Callable[[str], Array] = _random if self.name == RANDOM else _one_hot
        for index, sequence in enumerate(sequences):
            residues = rows(sequence)
            yield index, residues, residues[0]


def _random(sequence: str) -> Array:
    seed = int.from_bytes(hashlib.sha256(sequence.encode()).digest()[:8], "big")
    drawn = np.random.default_rng(seed).standard_normal((len(sequence), _WIDTH))
    return drawn.astype(np.float32)


def _one_hot(sequence: str) -> Array:
    return np.array([[a == b for b in AMINO_ACIDS] for a in sequence], dtype=np.float32)


def choose(
    words: Sequence[str], layer: int, dtype: Literal["float32", "bfloat16"], device: str = "cpu"
) -> list[Source]:
    """Make the sources that a user names.

    Parameters
    ----------
    words : sequence of str
        ``random``, ``composition``, and folders as ``DIR`` or ``NAME=DIR``: a Hugging Face folder
        or a pretraining run's.
    layer, dtype, device
        As for :class:`EncoderSource`.

    Raises
    ------
    ConfigError
        If two have one name, or an encoder lacks the layer.
    CheckpointError
        If a folder holds no encoder.
    """
    found: list[Source] = []
    for word in words:
        source = _source(word, layer, dtype, device)
        if source.name in [other.name for other in found]:
            raise ConfigError(f"two models are called {source.name}; write NAME={word}")
        found.append(source)
    return found


def _source(word: str, layer: int, dtype: Literal["float32", "bfloat16"], device: str) -> Source:
    if word in (RANDOM, COMPOSITION):
        return Control(word)
    name, _, place = word.rpartition("=")
    run = Path(place)
    folder = run / "huggingface" if (run / "huggingface").is_dir() else run
    name = _NOT_IN_A_NAME.sub("_", name or run.resolve().name)
    source = EncoderSource(name, folder, layer, dtype, device)
    _ = source.identity  # raises what is wrong with it now
    return source
