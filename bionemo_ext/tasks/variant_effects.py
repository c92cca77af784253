"""Effects of variants from a masked language model, without any training (Meier et al., 2021).

:class:`bionemo_ext.contract.effects.Method` has the four ways. Pseudo-log-likelihoods of sequences
whose lengths differ (insertions and deletions) are compared by their means over the residues.
:mod:`bionemo_ext.tasks.variant_windows` tells how a protein over the model's limit is seen.

Letters: L residues, K sites of a variant, V tokens of the alphabet.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.contract.effects import SERVED_METHODS, Method, site_effects, variant_effect
from bionemo_ext.contract.variants import (
    Variant,
    VariantError,
    apply,
    difference,
    sites,
)
from bionemo_ext.errors import InputError
from bionemo_ext.sequences.masked import mask_places
from bionemo_ext.tasks.questions import Key, answered, noted
from bionemo_ext.tasks.variant_windows import Array, MaskedModel, unmasked_logits, window

Advance = Callable[[int], None]
# The wild type, and a variant of it: substitutions, or a whole sequence.
Pair = tuple[str, Variant | str]
Substituted = tuple[str, Variant]


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
    VariantError
        As :func:`check_variant`, before anything is computed.
    """
    for variant in variants:
        check_variant(wild, variant, method, model.max_residues)
    found = []
    for score in stream_scores(model, ((wild, variant) for variant in variants), method):
        found.append(score)
        advance(1)
    return np.array(found, dtype=np.float64)


def stream_scores(model: MaskedModel, pairs: Iterable[Pair], method: Method) -> Iterator[float]:
    """Score variants of any number of proteins as they come, in their order.

    What variants of one protein have in common is computed once where they follow each other.

    Parameters
    ----------
    model : MaskedModel
        What gives logits.
    pairs : iterable of (str, Variant or str)
        Wild types and variants that passed :func:`check_variant`.
    method : Method
        How.

    Yields
    ------
    float
        In natural logarithms.
    """
    if method is Method.PLL:
        return _by_likelihood(model, pairs)
    substituted = (
        (wild, difference(wild, variant) if isinstance(variant, str) else variant)
        for wild, variant in pairs
    )
    by_method = {
        Method.WILDTYPE: _by_wild_type,
        Method.MASKED: _by_masks,
        Method.MUTANT: _by_mutant,
    }
    return by_method[method](model, substituted)


def check_variant(wild: str, variant: Variant | str, method: Method, limit: int) -> None:
    """Refuse a variant that a method cannot score.

    Parameters
    ----------
    wild, variant, method
        As for :func:`score_variants`.
    limit : int
        Residues that the model sees at once.

    Raises
    ------
    VariantError
        If it is a whole sequence of another length and the method not ``pll``, a residue of it is
        none of the 20 amino acids, or its sites are further apart than the model sees.
    """
    if isinstance(variant, str) and len(variant) == len(wild):
        variant = difference(wild, variant)
    if isinstance(variant, str):
        if method is not Method.PLL:
            raise VariantError(
                f"a sequence of {len(variant):,} residues has insertions or deletions against the "
                f"wild type of {len(wild):,}, which {method.value} cannot score; pll can",
                "insertions or deletions",
            )
        strange = set(variant) - set(AMINO_ACIDS) - set(wild)
        if strange:
            raise VariantError(
                f"the sequence has {min(strange)!r}, which is not one of the 20 amino acids "
                f"({AMINO_ACIDS})",
                "no amino acid",
            )
        return
    if method in (Method.WILDTYPE, Method.PLL) or not variant or len(wild) <= limit:
        return
    first, last = variant[0].site, variant[-1].site
    if last - first >= limit:
        raise VariantError(
            f"from its first to its last site are {last - first + 1:,} residues, and the model "
            f"sees {limit:,} at once; the wildtype method scores it",
            "sites too far apart",
        )


def scan(model: MaskedModel, wild: str, method: Method = Method.WILDTYPE) -> Array:
    """Score every single substitution of one protein; see :func:`stream_scans`.

    Returns
    -------
    NDArray
        FP32 [L, 20], columns in the order of ``AMINO_ACIDS``; 0 at the wild type.
    """
    (found,) = stream_scans(model, [wild], method)
    return found


def stream_scans(
    model: MaskedModel,
    proteins: Iterable[str],
    method: Method = Method.WILDTYPE,
    advance: Advance = lambda done: None,
) -> Iterator[Array]:
    """Score every single substitution of any number of proteins as they come, in their order.

    Parameters
    ----------
    model : MaskedModel
        What gives logits.
    proteins : iterable of str
        Wild types, clean.
    method : Method
        ``wildtype`` or ``masked``.
    advance : callable
        Told of residues done.

    Yields
    ------
    NDArray
        As of :func:`scan`.

    Raises
    ------
    InputError
        If the method is another: they need a pass for each of the 19 L mutants or more.
    """
    if method not in SERVED_METHODS:
        raise InputError(f"a scan is by wildtype or masked marginals, not by {method.value}")
    asked: deque[str] = deque()
    wilds = noted(proteins, asked)
    if method is Method.WILDTYPE:
        for rows in unmasked_logits(model, wilds):
            advance(len(rows))
            yield site_effects(rows, asked.popleft(), model.alphabet)
        return
    parts = model.masked_logits(
        _masked(wild, (site,), model) for wild in wilds for site in range(len(wild))
    )
    for first in parts:
        wild, rows = asked.popleft(), [first]
        for row in islice(parts, len(wild) - 1):
            rows.append(row)
            advance(1)
        advance(1)
        yield site_effects(np.concatenate(rows), wild, model.alphabet)


def likelihood(model: MaskedModel, sequences: Iterable[str]) -> Iterator[float]:
    """Pseudo-log-likelihood of sequences: the sum of log p(residue), each masked in turn.

    Over all V tokens of the alphabet, in natural logarithms.
    """
    asked: deque[str] = deque()
    rows = model.masked_logits(
        _masked(sequence, (site,), model)
        for sequence in noted(sequences, asked)
        for site in range(len(sequence))
    )
    for first in rows:
        ids = model.alphabet.encode_residues(asked.popleft())
        own = chain((first,), islice(rows, len(ids) - 1))
        yield sum(_log_probability(row[0], token) for row, token in zip(own, ids, strict=True))


def _by_likelihood(model: MaskedModel, pairs: Iterable[Pair]) -> Iterator[float]:
    def needs() -> Iterator[tuple[Pair, tuple[Key, ...]]]:
        for wild, variant in pairs:
            text = variant if isinstance(variant, str) else apply(wild, variant)
            yield (wild, text), ((wild, wild), (wild, text))

    def ask(keys: Iterable[Key]) -> Iterator[float]:
        return likelihood(model, (text for _, text in keys))

    for (wild, text), (own, other) in answered(needs(), ask):
        if len(text) == len(wild):
            yield other - own
        else:
            yield other / len(text) - own / len(wild)


def _by_wild_type(model: MaskedModel, pairs: Iterable[Substituted]) -> Iterator[float]:
    def ask(keys: Iterable[Key]) -> Iterator[NDArray[np.float64]]:
        asked: deque[str] = deque()
        for rows in unmasked_logits(model, noted((wild for wild, _ in keys), asked)):
            yield _effects(model, rows, asked.popleft())

    needs = (((wild, variant), ((wild, None),)) for wild, variant in pairs)
    for (_, variant), (rows,) in answered(needs, ask):
        yield variant_effect(variant, rows[list(sites(variant))])


def _by_masks(model: MaskedModel, pairs: Iterable[Substituted]) -> Iterator[float]:
    def ask(keys: Iterable[Key]) -> Iterator[Array]:
        return model.masked_logits(_masked(wild, places, model) for wild, places in keys)

    return _at_sites(model, ((pair, sites(pair[1])) for pair in pairs), ask)


def _by_mutant(model: MaskedModel, pairs: Iterable[Substituted]) -> Iterator[float]:
    def ask(keys: Iterable[Key]) -> Iterator[Array]:
        asked: deque[list[int]] = deque()

        def texts() -> Iterator[str]:
            for wild, variant in keys:
                places = sites(variant)
                text, start = window(
                    apply(wild, variant), places[0], places[-1], model.max_residues
                )
                asked.append([place - start for place in places])
                yield text

        return (logits[asked.popleft()] for logits in model.logits(texts()))

    return _at_sites(model, ((pair, pair[1]) for pair in pairs), ask)


def _at_sites(
    model: MaskedModel,
    pairs: Iterable[tuple[Substituted, tuple[Any, ...]]],
    ask: Callable[[Iterable[Key]], Iterator[Array]],
) -> Iterator[float]:
    """Score by logits [K, V] at the sites of each variant, asked once for each of its keys."""
    needs = (((wild, variant), ((wild, key),) if key else ()) for (wild, variant), key in pairs)
    for (wild, variant), found in answered(needs, ask):
        letters = "".join(wild[site] for site in sites(variant))
        yield sum((variant_effect(variant, _effects(model, rows, letters)) for rows in found), 0.0)


def _masked(sequence: str, places: tuple[int, ...], model: MaskedModel) -> str:
    """Mask some places of a sequence, in the window around them."""
    masked = mask_places(sequence, frozenset(places))
    return window(masked, places[0], places[-1], model.max_residues)[0]


def _effects(model: MaskedModel, rows: Array, wild: str) -> NDArray[np.float64]:
    """Effects at some sites, [K, 20]; in FP64, as those of many sites are summed."""
    return site_effects(rows.astype(np.float64), wild, model.alphabet)


def _log_probability(row: Array, token: int) -> float:
    values = row.astype(np.float64)
    return float(values[token] - values.max() - np.log(np.exp(values - values.max()).sum()))
