"""Variants of a protein as text: ``A24G``, or ``A24G:L30P`` for several substitutions at once.

HGVS's ``p.Ala24Gly`` and ``p.(Ala24Gly)``, as clinical databases write them, are read as well (den
Dunnen et al., 2016, doi 10.1002/humu.22981).
"""

import re
from dataclasses import dataclass

from bionemo_ext.contract.names import AMINO_ACIDS, MAX_VARIANTS
from bionemo_ext.errors import InputError

_CODES = "ALA CYS ASP GLU PHE GLY HIS ILE LYS LEU MET ASN PRO GLN ARG SER THR VAL TRP TYR XAA TER"
_LETTERS = dict(zip(_CODES.split(), AMINO_ACIDS + "X*", strict=True))
_CODE = "|".join(_LETTERS)
_SUBSTITUTION = re.compile(
    rf"(?:P\.)?(\()?({_CODE}|[A-Z])(-?[0-9]{{1,9}})({_CODE}|[A-Z*-])(?(1)\))"
)

# A reason, of text that is no substitution.
UNREADABLE = "cannot be read"


class VariantError(InputError):
    """A variant that cannot be scored.

    Parameters
    ----------
    sentence : str
        Names the variant, and says what would be right.
    reason : str
        What is wrong in a few words, the same for all variants with this fault: to be counted.
    """

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


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
    return [
        parse_variant(one, sequence, f"variant {one.strip()!r} of record {name!r}")
        for one in variants
    ]


def parse_variant(text: str, sequence: str, whose: str, offset: int = 0) -> Variant:
    """Read one variant.

    Parameters
    ----------
    text : str
        Substitutions joined by ``:``.
    sequence : str
        The wild type, clean.
    whose : str
        What an error begins with.
    offset : int
        What the variant's positions count too many: the first residue is ``1 + offset``.

    Raises
    ------
    VariantError
        As :func:`parse_variants`; positions are told as the variant counts them.
    """
    found: dict[int, Substitution] = {}
    first, last = 1 + offset, len(sequence) + offset
    for part in text.split(":"):
        substitution = read_substitution(part)
        if substitution is None:
            raise VariantError(
                f"{whose} cannot be read: substitutions look like A24G and are joined by ':'",
                UNREADABLE,
            )
        wild, position, mutant = substitution
        if not first <= position <= last:
            raise VariantError(
                f"{whose} names position {position}; the sequence has {first:,} to {last:,}",
                "position out of range",
            )
        if sequence[position - first] != wild:
            raise VariantError(
                f"{whose} has {wild!r} as wild type at position {position}, the sequence has "
                f"{sequence[position - first]!r}",
                "wild type does not match",
            )
        if mutant not in AMINO_ACIDS:
            raise VariantError(
                f"{whose} has {mutant!r} as mutant, which is not one of the 20 amino acids "
                f"({AMINO_ACIDS})",
                "no amino acid",
            )
        if position in found:
            raise VariantError(f"{whose} names position {position} twice", "position twice")
        found[position] = Substitution(position - first, mutant)
    return tuple(found[position] for position in sorted(found))


def read_substitution(text: str) -> tuple[str, int, str] | None:
    """Wild type, position and mutant, in letters; None where it is no substitution."""
    match = _SUBSTITUTION.fullmatch(text.strip().upper()) if text.isascii() else None
    if match is None:
        return None
    wild, mutant = (_LETTERS.get(code, code) for code in (match[2], match[4]))
    return wild, int(match[3]), mutant


def sites(variant: Variant) -> tuple[int, ...]:
    """Where a variant differs from the wild type."""
    return tuple(substitution.site for substitution in variant)


def apply(wild: str, variant: Variant) -> str:
    """Write the sequence of a variant."""
    letters = list(wild)
    for substitution in variant:
        letters[substitution.site] = substitution.mutant
    return "".join(letters)


def difference(wild: str, mutant: str) -> Variant:
    """Tell the substitutions that make ``mutant`` of ``wild``, which is as long.

    Raises
    ------
    VariantError
        If a residue that differs is none of the 20 amino acids.
    """
    pairs = enumerate(zip(wild, mutant, strict=True))
    found = tuple(Substitution(site, new) for site, (old, new) in pairs if old != new)
    for one in found:
        if one.mutant not in AMINO_ACIDS:
            raise VariantError(
                f"the sequence has {one.mutant!r} at position {one.site + 1}, which is not one of "
                f"the 20 amino acids ({AMINO_ACIDS})",
                "no amino acid",
            )
    return found


def written(wild: str, variant: Variant, offset: int = 0) -> str:
    """Write a variant as :func:`parse_variant` reads it."""
    return ":".join(f"{wild[s.site]}{s.site + 1 + offset}{s.mutant}" for s in variant)
