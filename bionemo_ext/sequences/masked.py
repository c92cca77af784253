"""Sequences in which some residues are masked, written as in Hugging Face: ``MKT<mask>RQG``.

Inside the program one letter stands for a mask, so that a sequence has as many letters as places.
"""

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import SequenceError
from bionemo_ext.sequences.alphabet import Alphabet
from bionemo_ext.sequences.policy import SequencePolicy, clean_sequence, without_space

# In no alphabet.
MASK_LETTER = "#"


def clean_masked(sequence: str, name: str, policy: SequencePolicy, limit: int | None = None) -> str:
    """Clean a sequence as :func:`clean_sequence` does, each mask one residue.

    Returns
    -------
    str
        Upper-case letters of the alphabet, and ``#`` for each mask.

    Raises
    ------
    SequenceError
        As :func:`clean_sequence`; positions count a mask as one residue.
    """
    parts = without_space(sequence).split(policy.alphabet.mask)
    if len(parts) == 1:
        return clean_sequence(parts[0], name, policy, limit)
    # X is in both alphabets; a mask before the last residue's "*" stays where it is.
    letters = list(clean_sequence("X".join(parts), name, policy, limit))
    for place, end in enumerate(accumulate(len(part) for part in parts[:-1])):
        letters[end + place] = MASK_LETTER
    return "".join(letters)


def refuse_masks(sequence: str, name: str, alphabet: Alphabet) -> None:
    """Raise if a sequence has masks.

    Raises
    ------
    SequenceError
        Names the record.
    """
    if alphabet.mask in sequence:
        raise SequenceError(
            f"record {name!r} has a {alphabet.mask}, which only a request for logits may have"
        )


def mask_places(sequence: str, places: frozenset[int]) -> str:
    """Put a mask in the place of residues, counted from 0."""
    return "".join(MASK_LETTER if i in places else letter for i, letter in enumerate(sequence))


def spelled(sequence: str, alphabet: Alphabet) -> str:
    """Write a sequence with masks as a request does."""
    return sequence.replace(MASK_LETTER, alphabet.mask)


def encode_masked(sequence: str, alphabet: Alphabet) -> NDArray[np.int64]:
    """Token ids of a clean sequence that may have masks, between ``bos`` and ``eos``, [L + 2]."""
    tokens = alphabet.encode(sequence.replace(MASK_LETTER, "X"))
    if MASK_LETTER in sequence:
        letters = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
        tokens[1:-1][letters == ord(MASK_LETTER)] = alphabet.mask_id
    return tokens
