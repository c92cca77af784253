"""Mutation effects from an encoder's endpoint, wherever that is: a server's, or in this process.

A masked scan of L residues takes L passes over the sequence. They are asked for in small requests,
few at a time, so that those of other clients come in between; and only the logits of masked places
come back.

Shapes: B sequences, L residues of the longest, V tokens.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import (
    LOGITS,
    MASKED_LOGITS,
    MAX_BATCH_SIZE,
    SCAN,
    SCORE,
    position_name,
)
from bionemo_ext.contract.effects import SERVED_METHODS, Method, site_effects, variant_effect
from bionemo_ext.contract.variants import Variant, parse_variants, sites
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import ESM1NV, ESM2, Alphabet, SequencePolicy, clean_sequence
from bionemo_ext.sequences.masked import mask_places, refuse_masks, spelled

_ALPHABETS = {alphabet.name: alphabet for alphabet in (ESM2, ESM1NV)}
# Of one request to the encoder's endpoint, and how many there may be of one client and of all.
_CHUNK_TOKENS = 4_096
_CHUNKS_A_REQUEST = 2
_CHUNKS_AT_ONCE = 4

Row = NDArray[np.float32]
# Sequences, with masks as a request writes them, and an output, to that output [B, ...].
Ask = Callable[[list[str], str], Awaitable[NDArray[Any]]]


@dataclass(frozen=True)
class Job:
    """One sequence of a request."""

    sequence: str
    method: Method
    variants: list[Variant]

    def site_sets(self, outputs: Sequence[str]) -> list[tuple[int, ...]]:
        """Sets of places that are masked together, each once."""
        singles = [(i,) for i in range(len(self.sequence))] if SCAN in outputs else []
        joint = [sites(variant) for variant in self.variants] if SCORE in outputs else []
        return list(dict.fromkeys([*singles, *joint]))


class MutationEffects:
    """Answers requests about mutation effects.

    Parameters
    ----------
    alphabet : str
        Name of the model's alphabet.
    max_residues : int
        Residues a sequence may have.
    """

    def __init__(self, alphabet: str, max_residues: int) -> None:
        self._alphabet = _ALPHABETS[alphabet]
        self._max_residues = max_residues
        self._chunks = asyncio.Semaphore(_CHUNKS_AT_ONCE)

    async def answer(
        self,
        sequences: Sequence[bytes],
        methods: Sequence[bytes] | None,
        mutants: Sequence[bytes] | None,
        outputs: Sequence[str],
        ask: Ask,
    ) -> dict[str, NDArray[Any]]:
        """Scan or score every sequence of a request.

        Parameters
        ----------
        sequences, methods, mutants : sequence of bytes
            The inputs as they came, B each; None where a request lacks one.
        outputs : sequence of str
            ``scan``, ``score`` or both.
        ask : callable
            Asks the encoder's endpoint.

        Returns
        -------
        dict of str to NDArray
            FP32 [B, L, 20] and [B, variants].

        Raises
        ------
        InputError
            Names the sequence by its position.
        """
        methods = methods or [b"wildtype"] * len(sequences)
        mutants = mutants or [b""] * len(sequences)
        jobs = [
            self._job(*values, position_name(place, len(sequences)))
            for place, values in enumerate(zip(sequences, methods, mutants, strict=True))
        ]
        rows: list[dict[tuple[int, ...], Row]] = [{} for _ in jobs]
        plain = [i for i, job in enumerate(jobs) if job.method is Method.WILDTYPE]
        if plain:
            found = await ask([jobs[i].sequence for i in plain], LOGITS)
            for i, logits in zip(plain, found, strict=True):
                sequence = jobs[i].sequence
                all_rows = site_effects(logits[: len(sequence)], sequence, self._alphabet)
                rows[i] = {(site,): row[None] for site, row in enumerate(all_rows)}
        await self._mask(ask, jobs, outputs, rows)
        answers = {SCAN: _scans, SCORE: _scores}
        return {name: answers[name](jobs, rows) for name in outputs}

    def _job(self, sent: bytes, sent_method: bytes, sent_mutants: bytes, name: str) -> Job:
        text, method, variants = (
            value.decode("utf-8", "replace") for value in (sent, sent_method, sent_mutants)
        )
        refuse_masks(text, name, self._alphabet)
        sequence = clean_sequence(text, name, SequencePolicy(self._alphabet), self._max_residues)
        known = [one.value for one in SERVED_METHODS]
        if method not in known:
            raise InputError(
                f"record {name!r} asks for the method {method!r}; there are {' and '.join(known)}"
            )
        return Job(sequence, Method(method), parse_variants(variants, sequence, name))

    async def _mask(
        self,
        ask: Ask,
        jobs: Sequence[Job],
        outputs: Sequence[str],
        rows: list[dict[tuple[int, ...], Row]],
    ) -> None:
        """Find the effects [k, 20] at k sites that are masked together, for each such set."""
        todo = (
            (place, site_set, job.sequence)
            for place, job in enumerate(jobs)
            if job.method is Method.MASKED
            for site_set in job.site_sets(outputs)
        )
        chunks = _chunked(todo)

        async def work() -> None:
            for chunk in chunks:  # of which every worker takes the next one
                texts = [_masked(sequence, places, self._alphabet) for _, places, sequence in chunk]
                async with self._chunks:
                    found = await ask(texts, MASKED_LOGITS)
                for (place, places, sequence), logits in zip(chunk, found, strict=True):
                    wild = "".join(sequence[site] for site in places)
                    rows[place][places] = site_effects(logits[: len(places)], wild, self._alphabet)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_CHUNKS_A_REQUEST):
                    group.create_task(work())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None


Todo = tuple[int, tuple[int, ...], str]


def _chunked(todo: Iterator[Todo]) -> Iterator[list[Todo]]:
    chunk: list[Todo] = []
    tokens = 0
    for item in todo:
        more = len(item[2]) + 2
        if chunk and (len(chunk) == MAX_BATCH_SIZE or tokens + more > _CHUNK_TOKENS):
            yield chunk
            chunk, tokens = [], 0
        chunk.append(item)
        tokens += more
    if chunk:
        yield chunk


def _masked(sequence: str, places: Sequence[int], alphabet: Alphabet) -> str:
    return spelled(mask_places(sequence, frozenset(places)), alphabet)


def _scans(jobs: Sequence[Job], rows: Sequence[dict[tuple[int, ...], Row]]) -> Row:
    """Scans [B, L, 20], zeros beyond a sequence's end."""
    longest = max(len(job.sequence) for job in jobs)
    scans = np.zeros((len(jobs), longest, 20), dtype=np.float32)
    for scan, job, found in zip(scans, jobs, rows, strict=True):
        for site in range(len(job.sequence)):
            scan[site] = found[(site,)][0]
    return scans


def _scores(jobs: Sequence[Job], rows: Sequence[dict[tuple[int, ...], Row]]) -> Row:
    """Scores [B, variants], NaN beyond a sequence's last variant."""
    most = max(len(job.variants) for job in jobs)
    scores = np.full((len(jobs), most), np.nan, dtype=np.float32)
    for row, job, found in zip(scores, jobs, rows, strict=True):
        for column, variant in enumerate(job.variants):
            places = sites(variant)
            if job.method is Method.MASKED:
                parts = list(found[places])
            else:
                parts = [found[(site,)][0] for site in places]
            row[column] = variant_effect(variant, parts)
    return scores
