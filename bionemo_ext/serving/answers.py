"""Answer many requests with few passes of the encoder; knows nothing of Triton.

Letters: B sequences of a request, L residues of its longest, H hidden size, C classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo_ext.contract import LENGTH, POOLINGS, RESIDUES, position_name
from bionemo_ext.errors import SequenceError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.packing import Encoded
from bionemo_ext.inference.predictor import Predictor
from bionemo_ext.inference.task import predict
from bionemo_ext.sequences import clean_sequence
from bionemo_ext.sequences.policy import refuse_long

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Ask:
    """One request: its sequences as they came, and the outputs it wants."""

    sequences: Sequence[bytes]
    outputs: frozenset[str]


class Answerer:
    """An encoder with its tasks.

    Parameters
    ----------
    encoder : Encoder
        What embeddings come from.
    tasks : mapping of str to Predictor
        By the name of their output. Those on one encoder share its pass; a task that adapted or
        trained its encoder has a pass of its own.
    max_residues : int
        Residues a sequence may have.
    max_tokens : int
        Tokens of one pass of the encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        tasks: Mapping[str, Predictor],
        max_residues: int,
        max_tokens: int,
    ) -> None:
        self.encoder = encoder
        self.tasks = tasks
        self.max_residues = max_residues
        self.max_tokens = max_tokens

    def answer(self, asks: Sequence[Ask]) -> list[dict[str, Array] | SequenceError]:
        """Answer each request, or say what is wrong with it.

        A sequence that stands in several requests goes through the encoder once.

        Returns
        -------
        list of dict or SequenceError
            In the order of ``asks``: arrays whose first dimension is B. ``residues`` [B, L, H] and
            residue-level tasks [B, L, C] are padded with zeros; ``length`` [B, 1] tells.
        """
        cleaned = [self._clean(ask) for ask in asks]
        wanted: dict[str, set[str]] = {}
        for ask, sequences in zip(asks, cleaned, strict=True):
            if not isinstance(sequences, SequenceError):
                for sequence in sequences:
                    wanted.setdefault(sequence, set()).update(ask.outputs - {LENGTH})
        found = self._encode({sequence: names for sequence, names in wanted.items() if names})
        return [
            sequences if isinstance(sequences, SequenceError) else _reply(ask, sequences, found)
            for ask, sequences in zip(asks, cleaned, strict=True)
        ]

    def _clean(self, ask: Ask) -> list[str] | SequenceError:
        sequences = []
        try:
            for position, sent in enumerate(ask.sequences):
                name = position_name(position, len(ask.sequences))
                sequence = clean_sequence(sent.decode("utf-8", "replace"), name)
                refuse_long(sequence, name, self.max_residues)
                sequences.append(sequence)
        except SequenceError as error:
            return error
        return sequences

    def _encode(self, wanted: Mapping[str, set[str]]) -> dict[str, dict[str, Array]]:
        found: dict[str, dict[str, Array]] = {sequence: {} for sequence in wanted}
        for encoder, names in self._by_encoder(set().union(*wanted.values())):
            sequences = [sequence for sequence, outputs in wanted.items() if outputs & names]
            for indices, encoded in encoder.embed(sequences, self.max_tokens):
                batch = [sequences[index] for index in indices]
                for name in names.intersection(set().union(*(wanted[s] for s in batch))):
                    for sequence, row in zip(batch, self._rows(name, encoded), strict=True):
                        if name in wanted[sequence]:
                            found[sequence][name] = row
        return found

    def _by_encoder(self, names: set[str]) -> list[tuple[Encoder, set[str]]]:
        """Which outputs one pass of an encoder gives, of those that are wanted."""
        encoders = {id(self.encoder): self.encoder}
        encoders |= {id(task.encoder): task.encoder for task in self.tasks.values()}
        groups: dict[int, set[str]] = {}
        for name in names:
            encoder = self.tasks[name].encoder if name in self.tasks else self.encoder
            groups.setdefault(id(encoder), set()).add(name)
        return [(encoders[key], group) for key, group in groups.items()]

    def _rows(self, name: str, encoded: Encoded) -> Iterable[Array]:
        if name == RESIDUES:
            return [_numpy(rows) for rows in encoded.residues()]
        if name in POOLINGS:
            return _numpy(getattr(encoded, name)())
        task = self.tasks[name]
        return predict(task.head, task.spec, encoded)


def _reply(
    ask: Ask, sequences: Sequence[str], found: Mapping[str, Mapping[str, Array]]
) -> dict[str, Array]:
    reply: dict[str, Array] = {}
    for name in ask.outputs:
        if name == LENGTH:
            reply[name] = np.array([[len(sequence)] for sequence in sequences], dtype=np.int32)
        else:
            reply[name] = _stacked([found[sequence][name] for sequence in sequences])
    return reply


def _stacked(rows: Sequence[Array]) -> Array:
    """Rows of one shape as they are; [L, X] rows of several lengths padded with zeros."""
    if rows[0].ndim == 1:
        return np.stack(rows)
    shape = (len(rows), max(map(len, rows)), rows[0].shape[1])
    stacked = np.zeros(shape, dtype=np.float32)
    for target, row in zip(stacked, rows, strict=True):
        target[: len(row)] = row
    return stacked


def _numpy(tensor: torch.Tensor) -> Array:
    return tensor.float().cpu().numpy()
