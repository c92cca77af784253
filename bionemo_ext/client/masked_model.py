"""Logits of sequences, masked ones too, from a server; V is the alphabet's size."""

import json
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.client import Client
from bionemo_ext.contract import LOGITS, MASKED_LOGITS
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import ESM1NV, ESM2, LengthPolicy, SequencePolicy
from bionemo_ext.sequences.masked import spelled

Array = NDArray[np.float32]


class ServerLogits:
    """What :mod:`bionemo_ext.tasks.variant_effects` asks, answered by a server.

    Parameters
    ----------
    client : Client
        Its model is the one that is asked.

    Raises
    ------
    InputError
        If the model's alphabet is not known here.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        about = client.models()[client.host]
        tokens = tuple(json.loads(about.parameters["tokens"]))
        known = [alphabet for alphabet in (ESM2, ESM1NV) if alphabet.tokens == tokens]
        if not known:
            raise InputError(f"{client.host} has an alphabet that is neither ESM-2's nor ESM-1nv's")
        self.alphabet = known[0]
        self.max_residues = about.max_residues
        self._policy = SequencePolicy(self.alphabet, long=LengthPolicy.REFUSE)

    def logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """Scores of the tokens at the residues of each sequence, [L, V], in order."""
        return self._ask(sequences, LOGITS)

    def masked_logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """Scores of the tokens at the masks (``#``) of each sequence, [K, V], in order."""
        return self._ask(sequences, MASKED_LOGITS)

    def _ask(self, sequences: Iterable[str], output: str) -> Iterator[Array]:
        texts = (spelled(sequence, self.alphabet) for sequence in sequences)
        for result in self._client.stream(texts, (output,), policy=self._policy):
            yield result.values[output]
