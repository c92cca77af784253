"""Variants of a protein as text: ``A24G``, or ``A24G:L30P`` for several substitutions at once."""

import re
from dataclasses import dataclass

from bionemo_ext.contract.names import AMINO_ACIDS, MAX_VARIANTS
from bionemo_ext.errors import InputError

_SUBSTITUTION = re.compile(r"([A-Z])([0-9]{1,9})([A-Z])")


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
