"""What happens to odd input: the one place that decides, for files, client and server alike.

Lower case is upper-cased, white space inside is dropped, a trailing ``*`` is dropped, and
anything else outside the alphabet is an error that names record, character and position, or
becomes ``X`` when asked. ``docs/sequences.md`` tells users the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from bionemo_ext.errors import SequenceError
from bionemo_ext.sequences.alphabet import ESM2, Alphabet

# Shortest sequence taken for nucleotides when it has A, C, G and T (or U) and nothing else but N.
_NUCLEOTIDE_MIN = 40
# Where str.split() splits, as far as it is ASCII.
_ASCII_SPACE = b" \t\n\r\v\f\x1c\x1d\x1e\x1f"


class LengthPolicy(str, Enum):
    """What to do with a sequence longer than the model's limit."""

    TRUNCATE = "truncate"
    REFUSE = "refuse"
    WINDOWS = "windows"


@dataclass(frozen=True)
class SequencePolicy:
    """How sequences are made fit for a model.

    Parameters
    ----------
    alphabet : Alphabet
        The letters that the model knows.
    unknown_to_x : bool
        Replace a letter outside the alphabet by ``X`` instead of raising.
    long : LengthPolicy
        What to do beyond ``max_residues``.
    max_residues : int, optional
        The limit; the alphabet's own when not given.
    """

    alphabet: Alphabet = ESM2
    unknown_to_x: bool = False
    long: LengthPolicy = LengthPolicy.TRUNCATE
    max_residues: int | None = None

    @property
    def limit(self) -> int:
        """Residues a sequence may have."""
        return self.max_residues or self.alphabet.max_residues


def looks_like_nucleotides(sequence: str) -> bool:
    """Whether a sequence has all four bases, nothing but bases and N, and 40 letters or more."""
    letters = set(sequence)
    return (
        len(sequence) >= _NUCLEOTIDE_MIN
        and letters <= set("ACGTUN")
        and set("ACG") <= letters
        and bool(letters & set("TU"))
    )


def clean_sequence(
    sequence: str, name: str, policy: SequencePolicy | None = None, limit: int | None = None
) -> str:
    """Bring a sequence into the model's alphabet; its length is left as it is.

    Parameters
    ----------
    sequence : str
        One-letter amino acids as a user wrote them.
    name : str
        What to call the record in an error.
    policy : SequencePolicy, optional
        Alphabet and treatment of unknown letters; its limit is not looked at.
    limit : int, optional
        Refuse more residues than this, before any letter is looked at: fifty million of them
        would take a second.

    Returns
    -------
    str
        Upper-case letters of the alphabet.

    Raises
    ------
    SequenceError
        If nothing is left, there is too much, a letter is unknown, or the letters are nucleotides.
    """
    policy = policy or SequencePolicy()
    residues = without_space(sequence).removesuffix("*")
    if limit is not None:
        refuse_long(residues, name, limit)
    residues = _upper(residues)
    if not residues:
        raise SequenceError(f"record {name!r} has no residues")
    known = set(policy.alphabet.residues)
    if not set(residues) <= known:
        if not policy.unknown_to_x:
            position = next(i for i, letter in enumerate(residues) if letter not in known)
            raise SequenceError(
                f"record {name!r} has {residues[position]!r} at position {position + 1}, which is "
                f"not in the {policy.alphabet.name} alphabet ({policy.alphabet.residues})"
            )
        residues = "".join(letter if letter in known else "X" for letter in residues)
    if looks_like_nucleotides(residues):
        raise SequenceError(
            f"record {name!r} looks like nucleotides (only A, C, G, T, U and N in "
            f"{len(residues)} letters); a protein sequence is needed, translate it first"
        )
    return residues


def without_space(text: str) -> str:
    """Leave out white space, without an object for each piece between where text is ASCII."""
    if text.isascii():
        return text.encode("ascii").translate(None, _ASCII_SPACE).decode("ascii")
    return "".join(text.split())


def _upper(letters: str) -> str:
    """Upper-case a to z alone: str.upper() makes two serines of a sharp s, and I of a dotless i."""
    if letters.isascii():
        return letters.upper()
    return "".join(letter.upper() if letter.isascii() else letter for letter in letters)


def refuse_long(sequence: str, name: str, limit: int) -> None:
    """Raise if ``sequence`` has more than ``limit`` residues.

    Raises
    ------
    SequenceError
        Names the record, its length and the limit.
    """
    if len(sequence) > limit:
        raise SequenceError(
            f"record {name!r} has {len(sequence):,} residues, the limit is {limit:,}"
        )


def windows(length: int, limit: int, overlap: int | None = None) -> Iterator[tuple[int, int]]:
    """Spans [start, end) of at most ``limit`` residues that cover ``length`` residues.

    Neighbours share at least ``overlap`` residues (a quarter of the limit when not given); the
    last span ends at the last residue and is as long as the others, so that no window is short.

    Raises
    ------
    ValueError
        If ``overlap`` is not below ``limit``.
    """
    overlap = limit // 4 if overlap is None else overlap
    if not 0 <= overlap < limit:
        raise ValueError(f"overlap {overlap} must be at least 0 and below the limit {limit}")
    start = 0
    while start + limit < length:
        yield start, start + limit
        start += limit - overlap
    yield max(0, min(start, length - limit)), length
