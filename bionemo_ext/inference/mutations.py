"""Mutation effects from a masked language model's logits (Meier et al., 2021).

The effect of a substitution is log p(mutant) - log p(wild type) at its site; that of a variant is
the sum over its sites. The wild-type marginal takes p from one pass over the sequence as it is,
the masked marginal from a pass in which all sites of the variant are masked
(doi 10.1101/2021.07.09.450648). In the difference of two logits the softmax' normaliser cancels.

Shapes: K sites, V tokens of the alphabet; 20 columns in the order of ``AMINO_ACIDS``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract.names import AMINO_ACIDS, MAX_VARIANTS
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import Alphabet

_SUBSTITUTION = re.compile(r"([A-Z])([0-9]{1,9})([A-Z])")


class Method(str, Enum):
    """Where the probabilities of a mutation effect come from."""

    WILDTYPE = "wildtype"
    MASKED = "masked"


@dataclass(frozen=True)
class Substitution:
    """One residue in the place of another.

    Parameters
    ----------
    site : int
        Its place in the sequence, from 0.
    mutant : str
        One of the 20 amino acids.
    """

    site: int
    mutant: str


# In the order of their sites.
Variant = tuple[Substitution, ...]


def parse_variants(text: str, sequence: str, name: str) -> list[Variant]:
    """Read variants such as ``A24G`` or ``A24G:L30P``, separated by commas.

    Parameters
    ----------
    text : str
        Each substitution is wild type, position from 1, mutant. An empty text has no variant.
    sequence : str
        The wild type, clean.
    name : str
        What to call the record in an error.

    Raises
    ------
    InputError
        If there are too many, one cannot be read, does not fit the sequence, names a site twice,
        or has a mutant other than the 20 amino acids; names record and variant.
    """
    if not text.strip():
        return []
    variants = text.split(",")
    if len(variants) > MAX_VARIANTS:
        raise InputError(
            f"record {name!r} has {len(variants):,} variants, the limit is {MAX_VARIANTS:,}"
        )
    return [_parse_variant(variant.strip(), sequence, name) for variant in variants]


def _parse_variant(text: str, sequence: str, name: str) -> Variant:
    whose = f"variant {text!r} of record {name!r}"
    found: dict[int, Substitution] = {}
    for part in text.split(":"):
        match = _SUBSTITUTION.fullmatch(part.strip().upper()) if part.isascii() else None
        if match is None:
            raise InputError(
                f"{whose} cannot be read: substitutions look like A24G and are joined by ':'"
            )
        wild, position, mutant = match[1], int(match[2]), match[3]
        if not 1 <= position <= len(sequence):
            raise InputError(
                f"{whose} names position {position}; the sequence has 1 to {len(sequence):,}"
            )
        if sequence[position - 1] != wild:
            raise InputError(
                f"{whose} has {wild!r} as wild type at position {position}, the sequence has "
                f"{sequence[position - 1]!r}"
            )
        if mutant not in AMINO_ACIDS:
            raise InputError(
                f"{whose} has {mutant!r} as mutant, which is not one of the 20 amino acids "
                f"({AMINO_ACIDS})"
            )
        if position in found:
            raise InputError(f"{whose} names position {position} twice")
        found[position] = Substitution(position - 1, mutant)
    return tuple(found[position] for position in sorted(found))


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
