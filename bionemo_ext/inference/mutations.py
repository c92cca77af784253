"""Mutation effects from a masked language model's logits (Meier et al., 2021).

The effect of a substitution is log p(mutant) - log p(wild type) at its site; that of a variant is
the sum over its sites. The wild-type marginal takes p from one pass over the sequence as it is,
the masked marginal from a pass in which all sites of the variant are masked
(doi 10.1101/2021.07.09.450648). In the difference of two logits the softmax' normaliser cancels.

Shapes: K sites, V tokens of the alphabet; 20 columns in the order of ``AMINO_ACIDS``.
"""

from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract.names import AMINO_ACIDS
from bionemo_ext.contract.variants import Variant
from bionemo_ext.sequences import Alphabet


class Method(str, Enum):
    """Where the probabilities of a mutation effect come from."""

    WILDTYPE = "wildtype"
    MASKED = "masked"


def sites(variant: Variant) -> tuple[int, ...]:
    """Where a variant differs from the wild type."""
    return tuple(substitution.site for substitution in variant)


def effects(logits: NDArray[np.float32], wild: str, alphabet: Alphabet) -> NDArray[np.float32]:
    """Effect of every amino acid at some sites.

    Parameters
    ----------
    logits : NDArray
        Scores of the alphabet's tokens at the sites, [K, V].
    wild : str
        The wild type's residues there, K letters.
    alphabet : Alphabet
        Of the model.

    Returns
    -------
    NDArray
        log p(mutant) - log p(wild type), [K, 20]; 0 at the wild type.
    """
    columns = alphabet.encode_residues(AMINO_ACIDS)
    own = np.take_along_axis(logits, alphabet.encode_residues(wild)[:, None], axis=1)
    return logits[:, columns] - own


def score(variant: Variant, rows: Sequence[NDArray[np.float32]]) -> float:
    """Sum the effects of a variant's substitutions, from a row [20] of each site."""
    pairs = zip(variant, rows, strict=True)
    return float(sum(row[AMINO_ACIDS.index(one.mutant)] for one, row in pairs))
