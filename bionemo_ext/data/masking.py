"""Masked language modelling targets, the same for the same (seed, epoch, index) everywhere."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.sequences import ESM2, Alphabet


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
    alphabet : Alphabet
        Where ``<mask>`` and the amino acids come from.
    """

    chosen: float = 0.15
    masked: float = 0.8
    random: float = 0.1
    alphabet: Alphabet = ESM2


def mask_tokens(
    tokens: NDArray[np.int64], generator: np.random.Generator, policy: MaskingPolicy
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Hide some residues of one sequence.

    Exactly ``chosen`` of the residues are picked, rounded up or down at random so that the mean
    is exact; the first and last token (``bos``, ``eos``) never are.

    Parameters
    ----------
    tokens : array
        Token ids of one sequence with ``bos`` and ``eos``, shape [L].
    generator : numpy.random.Generator
        Decides all.
    policy : MaskingPolicy
        The shares.

    Returns
    -------
    inputs : array
        What the model sees, shape [L].
    chosen : array of bool
        True where the model's prediction counts, shape [L].
    """
    residues = len(tokens) - 2
    count = int(policy.chosen * residues + generator.random())
    where = 1 + generator.permutation(residues)[:count]
    draw = generator.random(count)
    substitutes = generator.choice(policy.alphabet.standard_ids, count)
    inputs, chosen = tokens.copy(), np.zeros(len(tokens), dtype=bool)
    chosen[where] = True
    become_mask = draw < policy.masked
    become_random = ~become_mask & (draw < policy.masked + policy.random)
    inputs[where[become_mask]] = policy.alphabet.mask_id
    inputs[where[become_random]] = substitutes[become_random]
    return inputs, chosen
