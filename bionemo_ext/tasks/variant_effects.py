"""Effects of variants from a masked language model, without any training (Meier et al., 2021).

Four ways to compare a variant with the wild type (doi 10.1101/2021.07.09.450648):

``masked``
    the sum over its sites of log p(mutant) - log p(wild type), all sites of it masked at once;
``wildtype``
    the same with p from one pass over the wild type as it is;
``mutant``
    the same with p from a pass over the mutant sequence;
``pll``
    the difference of pseudo-log-likelihoods, which mask each residue of a sequence in turn. Where
    lengths differ (insertions and deletions) the means over the residues are compared.

A protein over the model's limit is seen through windows of that size: a masked site from the
window in whose middle it is, so far as the protein's ends allow; the sites of one variant from the
window around their middle; sites of a pass without masks from that of the overlapping windows in
which they are furthest from an end.

Letters: L residues, K masked sites, V tokens of the alphabet.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.contract.variants import Substitution, Variant
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import Alphabet, windows
from bionemo_ext.sequences.masked import mask_places

Array = NDArray[np.float32]
Advance = Callable[[int], None]


class Method(str, Enum):
    """How a variant is compared with the wild type."""

    MASKED = "masked"
    WILDTYPE = "wildtype"
    MUTANT = "mutant"
    PLL = "pll"


class MaskedModel(Protocol):
    """What gives logits: an encoder here, or a server."""

    alphabet: Alphabet
    max_residues: int

    def logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """Scores of the alphabet's tokens at the residues of each sequence, [L, V], in order."""

    def masked_logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """The same at the masks alone, [K, V], of sequences in which ``#`` stands for a mask."""


def score_variants(
    model: MaskedModel,
    wild: str,
    variants: Sequence[Variant | str],
    method: Method,
    advance: Advance = lambda done: None,
) -> NDArray[np.float64]:
    """Score variants of one protein; above 0 the model prefers them to the wild type.

    Parameters
    ----------
    model : MaskedModel
        What gives logits.
    wild : str
        The wild type, clean.
    variants : sequence of Variant or str
        Substitutions, or whole sequences, which only ``pll`` compares where lengths differ.
    method : Method
        How.
    advance : callable
        Told of each variant done.

    Returns
    -------
    NDArray
        FP64 [variants], in natural logarithms.

    Raises
    ------
    InputError
        If a whole sequence of another length is given to another method than ``pll``, or the sites
        of a variant are further apart than the model sees.
    """
    if method is Method.PLL:
        return _by_likelihood(model, wild, variants, advance)
    substituted = [_substitutions(wild, variant, method) for variant in variants]
    if method is Method.WILDTYPE:
        return _by_wild_type(model, wild, substituted, advance)
    by_variant = _masked_rows if method is Method.MASKED else _mutant_rows
    counts = Counter(substituted)
    found: dict[Variant, float] = {}
    for variant, rows in zip(counts, by_variant(model, wild, list(counts)), strict=True):
        found[variant] = _sum(model.alphabet, wild, variant, rows)
        advance(counts[variant])
    return np.array([found[variant] for variant in substituted])


def scan(
    model: MaskedModel,
    wild: str,
    method: Method = Method.WILDTYPE,
    advance: Advance = lambda done: None,
) -> Array:
    """Score every single substitution.

    Returns
    -------
    NDArray
        FP32 [L, 20], columns in the order of ``AMINO_ACIDS``; 0 at the wild type.

    Raises
    ------
    InputError
        If ``method`` is neither ``wildtype`` nor ``masked``: the others need a pass for each of the
        19 L mutants or more.
    """
    if method is Method.WILDTYPE:
        rows = _unmasked(model, wild)
        advance(len(wild))
    elif method is Method.MASKED:
        single: list[Variant] = [(Substitution(site, "A"),) for site in range(len(wild))]
        parts = []
        for part in _masked_rows(model, wild, single):
            parts.append(part)
            advance(1)
        rows = np.concatenate(parts)
    else:
        raise InputError(f"a scan is by wildtype or masked marginals, not by {method.value}")
    columns = model.alphabet.encode_residues(AMINO_ACIDS)
    own = np.take_along_axis(rows, model.alphabet.encode_residues(wild)[:, None], axis=1)
    return rows[:, columns] - own


def likelihood(model: MaskedModel, sequences: Iterable[str]) -> Iterator[float]:
    """Pseudo-log-likelihood of sequences: the sum of log p(residue), each masked in turn.

    Over all V tokens of the alphabet, in natural logarithms.
    """
    wanted = list(sequences)
    masked = (
        _window(mask_places(sequence, frozenset((site,))), site, site, model.max_residues)[0]
        for sequence in wanted
        for site in range(len(sequence))
    )
    rows = model.masked_logits(masked)
    for sequence in wanted:
        ids = model.alphabet.encode_residues(sequence)
        yield sum(_log_probability(next(rows)[0], token) for token in ids)


def apply(wild: str, variant: Variant) -> str:
    """Write the sequence of a variant."""
    letters = list(wild)
    for substitution in variant:
        letters[substitution.site] = substitution.mutant
    return "".join(letters)


def difference(wild: str, mutant: str) -> Variant:
    """Tell the substitutions that make ``mutant`` of ``wild``, which is as long."""
    pairs = enumerate(zip(wild, mutant, strict=True))
    return tuple(Substitution(site, new) for site, (old, new) in pairs if old != new)


def _substitutions(wild: str, variant: Variant | str, method: Method) -> Variant:
    if not isinstance(variant, str):
        return variant
    if len(variant) != len(wild):
        raise InputError(
            f"a sequence of {len(variant):,} residues has insertions or deletions against the wild "
            f"type of {len(wild):,}, which {method.value} cannot score; pll can"
        )
    return difference(wild, variant)


def _by_likelihood(
    model: MaskedModel, wild: str, variants: Sequence[Variant | str], advance: Advance
) -> NDArray[np.float64]:
    texts = [one if isinstance(one, str) else apply(wild, one) for one in variants]
    counts = Counter(texts)
    distinct = list(dict.fromkeys([wild, *texts]))
    found: dict[str, float] = {}
    for text, value in zip(distinct, likelihood(model, distinct), strict=True):
        found[text] = value
        advance(counts[text])
    return np.array(
        [
            found[text] - found[wild]
            if len(text) == len(wild)
            else found[text] / len(text) - found[wild] / len(wild)
            for text in texts
        ]
    )


def _by_wild_type(
    model: MaskedModel, wild: str, variants: Sequence[Variant], advance: Advance
) -> NDArray[np.float64]:
    rows = _unmasked(model, wild)
    advance(len(variants))
    return np.array(
        [_sum(model.alphabet, wild, one, rows[[s.site for s in one]]) for one in variants]
    )


def _unmasked(model: MaskedModel, sequence: str) -> Array:
    """Logits at every residue, [L, V], from the window in which it is furthest from an end."""
    spans = list(windows(len(sequence), model.max_residues))
    if len(sequence) <= model.max_residues:
        spans = [(0, len(sequence))]
    found = np.zeros((len(sequence), len(model.alphabet)), dtype=np.float32)
    margin = np.full(len(sequence), -1)
    parts = model.logits(sequence[start:end] for start, end in spans)
    for (start, end), part in zip(spans, parts, strict=True):
        places = np.arange(start, end)
        # The protein's own ends are no ends of what the model could see.
        left = places - start if start else np.full(end - start, len(sequence))
        right = end - 1 - places if end < len(sequence) else np.full(end - start, len(sequence))
        inner = np.minimum(left, right)
        better = inner > margin[start:end]
        found[start:end][better] = part[better]
        margin[start:end] = np.maximum(margin[start:end], inner)
    return found


def _masked_rows(model: MaskedModel, wild: str, variants: Sequence[Variant]) -> Iterator[Array]:
    """Logits at the sites of each variant, all of them masked, [K, V]."""
    site_sets = [tuple(s.site for s in variant) for variant in variants]
    distinct = list(dict.fromkeys(places for places in site_sets if places))
    last = {places: index for index, places in enumerate(site_sets)}
    texts = (
        _window(mask_places(wild, frozenset(places)), places[0], places[-1], model.max_residues)[0]
        for places in distinct
    )
    rows = model.masked_logits(texts)
    kept: dict[tuple[int, ...], Array] = {}
    for index, places in enumerate(site_sets):
        if places and places not in kept:
            kept[places] = next(rows)
        yield kept[places] if places else np.zeros((0, len(model.alphabet)), dtype=np.float32)
        if last[places] == index:
            kept.pop(places, None)


def _mutant_rows(model: MaskedModel, wild: str, variants: Sequence[Variant]) -> Iterator[Array]:
    """Logits at the sites of each variant from a pass over its sequence, [K, V]."""
    spans = [
        _window(apply(wild, one), one[0].site, one[-1].site, model.max_residues)
        for one in variants
        if one
    ]
    parts = zip(spans, model.logits(text for text, _ in spans), strict=True)
    for variant in variants:
        if not variant:
            yield np.zeros((0, len(model.alphabet)), dtype=np.float32)
            continue
        (_, start), logits = next(parts)
        yield logits[[substitution.site - start for substitution in variant]]


def _window(sequence: str, first: int, last: int, limit: int) -> tuple[str, int]:
    """Cut the window around the middle of two sites, and tell where it starts.

    Raises
    ------
    InputError
        If it does not hold both.
    """
    if len(sequence) <= limit:
        return sequence, 0
    if last - first >= limit:
        raise InputError(
            f"the sites {first + 1:,} and {last + 1:,} of one variant are further apart than the "
            f"{limit:,} residues that the model sees at once; the wildtype method scores it"
        )
    start = min(max(0, (first + last + 1) // 2 - limit // 2), len(sequence) - limit)
    return sequence[start : start + limit], start


def _sum(alphabet: Alphabet, wild: str, variant: Variant, rows: Array) -> float:
    total = 0.0
    for substitution, row in zip(variant, rows, strict=True):
        new, old = alphabet.encode_residues(substitution.mutant + wild[substitution.site])
        total += float(row[new]) - float(row[old])
    return total


def _log_probability(row: Array, token: int) -> float:
    values = row.astype(np.float64)
    return float(values[token] - values.max() - np.log(np.exp(values - values.max()).sum()))
