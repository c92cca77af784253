"""Masked language modelling targets, the same for the same key everywhere.

Shape letters: B sequences, T tokens of all of them end to end.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.counter import Bits, below, combine, random_bits, uniform
from bionemo_ext.sequences import Alphabet

# One sorted word holds which sequence, a random rank and which residue, from the highest bit down.
_SEQUENCE_BITS, _RANK_BITS, _RESIDUE_BITS = 16, 28, 20
_RANK, _ACTION, _SUBSTITUTE, _COUNT = range(4)


@dataclass(frozen=True)
class MaskingPolicy:
    """How tokens are chosen and what stands in their place (Devlin et al., 2019).

    Parameters
    ----------
    chosen : float
        Share of the residues that are to be predicted.
    masked, random : float
        Shares of the chosen ones that become ``<mask>`` or a random standard amino acid; the rest
        stays as it is.
    """

    chosen: float = 0.15
    masked: float = 0.8
    random: float = 0.1


def mask_tokens(
    tokens: NDArray[np.int64],
    offsets: NDArray[np.int64],
    keys: Bits,
    alphabet: Alphabet,
    policy: MaskingPolicy,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Hide some residues of each sequence; what one loses does not depend on the others.

    Exactly ``chosen`` of a sequence's residues are picked, rounded up or down at random so that
    the mean is exact; its first and last token (``bos``, ``eos``) never are.

    Parameters
    ----------
    tokens : array of int64
        Token ids of all sequences, each with ``bos`` and ``eos``, shape [T].
    offsets : array of int64
        Sequence i is ``tokens[offsets[i]:offsets[i + 1]]``, shape [B + 1]. At most 65,536
        sequences, of 2**20 residues at most.
    keys : array of uint64
        What decides each sequence's mask, shape [B].
    alphabet : Alphabet
        Where ``<mask>`` and the amino acids come from.
    policy : MaskingPolicy
        The shares.

    Returns
    -------
    inputs : array of int64
        What the model sees, shape [T].
    chosen : array of bool
        True where the model's prediction counts, shape [T].
    """
    sequence, residue = _pick(np.diff(offsets) - 2, keys, policy.chosen)
    where = offsets[:-1][sequence] + 1 + residue
    draw = uniform(random_bits(combine(keys, _ACTION)[sequence], residue))
    become_mask = draw < policy.masked
    become_random = ~become_mask & (draw < policy.masked + policy.random)
    standard = alphabet.standard_ids
    draw_residue = random_bits(combine(keys, _SUBSTITUTE)[sequence], residue)
    substitutes = standard[below(draw_residue, len(standard))]

    inputs, chosen = tokens.copy(), np.zeros(len(tokens), dtype=bool)
    chosen[where] = True
    inputs[where[become_mask]] = alphabet.mask_id
    inputs[where[become_random]] = substitutes[become_random]
    return inputs, chosen


def _pick(
    residues: NDArray[np.int64], keys: Bits, share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose residues of sequences that have so many: which sequence, and which of its residues.

    Every residue gets a random rank, and the lowest ranks of each sequence are taken.
    """
    sequence, residue = _numbered(residues)
    rank = random_bits(combine(keys, _RANK)[sequence], residue) >> np.uint64(64 - _RANK_BITS)
    ranked = sequence.astype(np.uint64) << np.uint64(_RANK_BITS + _RESIDUE_BITS)
    ranked |= rank << np.uint64(_RESIDUE_BITS)
    ranked |= residue.astype(np.uint64)
    ranked.sort()
    counts = (share * residues + uniform(combine(keys, _COUNT))).astype(np.int64)
    picked, nth = _numbered(np.minimum(counts, residues))
    begins = np.cumsum(residues) - residues
    lowest = ranked[begins[picked] + nth] & np.uint64(2**_RESIDUE_BITS - 1)
    return picked, lowest.astype(np.int64)


def _numbered(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count up in each of several groups: [2, 3] gives groups 0 0 1 1 1 and numbers 0 1 0 1 2."""
    groups = np.repeat(np.arange(len(counts)), counts)
    return groups, np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
