"""Variants that are to be scored, in shares that one request may have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bionemo_ext.client.streaming.plan import named
from bionemo_ext.contract import Endpoint
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import Record

# Tokens of the passes of one share with masks, where each variant may take a pass.
_SHARE_TOKENS = 262_144


@dataclass(frozen=True)
class Share:
    """Some variants of one record.

    Parameters
    ----------
    owner : int
        Position of the record.
    record : Record
        The record.
    variants : tuple of str
        Such as ``A24G`` or ``A24G:L30P``.
    """

    owner: int
    record: Record
    variants: tuple[str, ...]

    @property
    def text(self) -> str:
        """As a request has them."""
        return ",".join(self.variants)


def shares(
    sequences: Sequence[str | Record],
    mutants: Sequence[Sequence[str]],
    endpoint: Endpoint,
    *,
    masked: bool,
) -> Iterator[Share]:
    """Cut the variants of each record into shares.

    Raises
    ------
    InputError
        If there are not as many lists as records, or a variant is empty or has a comma.
    """
    if len(sequences) != len(mutants):
        raise InputError(
            f"there are {len(sequences):,} sequences and {len(mutants):,} lists of mutants; each "
            "sequence needs one"
        )
    at_most = int(endpoint.parameters["max_variants"])
    pairs = zip(named(sequences), mutants, strict=True)
    for owner, (record, variants) in enumerate(pairs):
        _check(record, variants)
        size = at_most
        if masked:
            size = min(at_most, max(1, _SHARE_TOKENS // (len(record.sequence) + 2)))
        for start in range(0, len(variants), size):
            yield Share(owner, record, tuple(variants[start : start + size]))


def _check(record: Record, variants: Sequence[str]) -> None:
    if isinstance(variants, str):
        raise InputError(
            f"the mutants of record {record.name!r} must be a list such as ['A24G', 'A24G:L30P'], "
            "not one text"
        )
    for variant in variants:
        if not variant.strip() or "," in variant:
            raise InputError(
                f"record {record.name!r} has the variant {variant!r}; one looks like A24G or "
                "A24G:L30P"
            )
