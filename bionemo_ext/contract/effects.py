"""Effects of substitutions from a masked language model's logits (Meier et al., 2021).

The effect of a substitution is log p(mutant) - log p(wild type) at its site; that of a variant is
the sum over its sites (doi 10.1101/2021.07.09.450648). In the difference of two logits the softmax'
normaliser cancels.

Shapes: K sites, V tokens of the alphabet; 20 columns in the order of ``AMINO_ACIDS``.
"""

from collections.abc import Iterable
from enum import Enum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract.names import AMINO_ACIDS
from bionemo_ext.contract.variants import Variant
from bionemo_ext.sequences import Alphabet

Number = TypeVar("Number", np.float32, np.float64)


class Method(str, Enum):
    """How a variant is compared with the wild type.

    ``WILDTYPE``
        p from one pass over the wild type as it is;
    ``MASKED``
        from a pass in which all sites of the variant are masked;
    ``MUTANT``
        from a pass over the mutant sequence;
    ``PLL``
        the difference of pseudo-log-likelihoods, which mask each residue of a sequence in turn.
    """

    WILDTYPE = "wildtype"
    MASKED = "masked"
    MUTANT = "mutant"
    PLL = "pll"


# Those that a server has an endpoint for; the others are made of its logits.
SERVED_METHODS = (Method.WILDTYPE, Method.MASKED)


def site_effects(logits: NDArray[Number], wild: str, alphabet: Alphabet) -> NDArray[Number]:
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


def variant_effect(variant: Variant, rows: Iterable[NDArray[Number]]) -> float:
    """Sum the effects of a variant's substitutions.

    Parameters
    ----------
    variant : Variant
        K substitutions.
    rows : iterable of NDArray
        Effects at its sites, K times [20].
    """
    pairs = zip(variant, rows, strict=True)
    return sum((float(row[AMINO_ACIDS.index(one.mutant)]) for one, row in pairs), 0.0)
