"""Logits of sequences, masked ones too, from an encoder in this process."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.packing import token_batches
from bionemo_ext.sequences.masked import encode_masked

Array = NDArray[np.float32]

_PASS_TOKENS = 4096
# Sequences that are read ahead and sorted by length.
_AHEAD = 512


class EncoderLogits:
    """What :mod:`bionemo_ext.tasks.variant_effects` asks; V is the alphabet's size.

    Parameters
    ----------
    encoder : Encoder
        A model with its language-modelling head.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.alphabet = encoder.alphabet
        self.max_residues = encoder.config.max_residues

    def logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """Scores of the tokens at the residues of each sequence, [L, V], in order."""
        return self._run(sequences, masked=False)

    def masked_logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """Scores of the tokens at the masks (``#``) of each sequence, [K, V], in order."""
        return self._run(sequences, masked=True)

    def _run(self, sequences: Iterable[str], masked: bool) -> Iterator[Array]:
        source = iter(sequences)
        while ahead := list(islice(source, _AHEAD)):
            found: list[Array] = [np.zeros(0, np.float32)] * len(ahead)
            for batch in token_batches([len(sequence) + 2 for sequence in ahead], _PASS_TOKENS):
                rows = self._pass([ahead[i] for i in batch], masked)
                for index, row in zip(batch, rows, strict=True):
                    found[index] = row
            yield from found

    def _pass(self, sequences: Sequence[str], masked: bool) -> list[Array]:
        tokens = [encode_masked(sequence, self.alphabet) for sequence in sequences]
        offsets = np.cumsum([0, *map(len, tokens)]).tolist()
        packed = torch.from_numpy(np.concatenate(tokens))
        if masked:
            wanted = self.encoder.encode_masks(packed, offsets)
        else:
            residues = torch.ones(len(packed), dtype=torch.bool)
            residues[offsets[:-1]] = residues[[end - 1 for end in offsets[1:]]] = False
            encoded = self.encoder.encode_tokens(packed, offsets)
            wanted = encoded.at(residues.to(encoded.hidden.device))
        # The head sees only the rows that are asked for.
        logits = self.encoder.logits(wanted).cpu().numpy()
        return np.split(logits, wanted.offsets[1:-1])
