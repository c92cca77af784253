"""The endpoint of mutation effects: it asks for logits, and computes what is small itself.

A masked scan of L residues takes L passes over the sequence. They go to the encoder's endpoint in
small requests, few at a time, so that those of other clients come in between; and only the logits
of masked places come back.

Shapes: B sequences, L residues of the longest, V tokens.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import (
    LOGITS,
    MASKED_LOGITS,
    MAX_BATCH_SIZE,
    METHOD,
    MUTANTS,
    SCAN,
    SCORE,
    SEQUENCE,
    position_name,
)
from bionemo_ext.contract.variants import Variant, parse_variants
from bionemo_ext.errors import InputError
from bionemo_ext.inference.mutations import Method, effects, score, sites
from bionemo_ext.sequences import ESM1NV, ESM2, Alphabet, SequencePolicy, clean_sequence
from bionemo_ext.sequences.masked import mask_places, refuse_masks, spelled
from bionemo_ext.serving.thin_model import Arrays, ThinModel, strings
from bionemo_ext.serving.triton_io import read_input

_ALPHABETS = {alphabet.name: alphabet for alphabet in (ESM2, ESM1NV)}
# Of one request to the encoder's endpoint, and how many there may be of one client and of all.
_CHUNK_TOKENS = 4_096
_CHUNKS_A_REQUEST = 2
_CHUNKS_AT_ONCE = 4

Row = NDArray[np.float32]


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


class MutationModel(ThinModel):
    """Triton's ``TritonPythonModel`` of ``esm2_mutation_effect``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the limits."""
        super().initialize(args)
        self._alphabet = _ALPHABETS[self.parameters["alphabet"]]
        self._max_residues = int(self.parameters["max_residues"])
        self._chunks = asyncio.Semaphore(_CHUNKS_AT_ONCE)

    async def answer(self, request: Any) -> Arrays:
        """Scan or score every sequence of the request."""
        jobs = self._jobs(request)
        outputs = request.requested_output_names()
        rows: list[dict[tuple[int, ...], Row]] = [{} for _ in jobs]
        plain = [i for i, job in enumerate(jobs) if job.method is Method.WILDTYPE]
        if plain:
            asked = strings([jobs[i].sequence for i in plain])
            arrays = await self.ask(request, asked, [LOGITS])
            for i, logits in zip(plain, arrays[LOGITS], strict=True):
                found = effects(logits[: len(jobs[i].sequence)], jobs[i].sequence, self._alphabet)
                rows[i] = {(site,): row[None] for site, row in enumerate(found)}
        await self._mask(request, jobs, outputs, rows)
        answers = {SCAN: _scans, SCORE: _scores}
        return {name: answers[name](jobs, rows) for name in outputs}

    def _jobs(self, request: Any) -> list[Job]:
        """Read and check the inputs.

        Raises
        ------
        InputError
            Names the sequence by its position.
        """
        sequences = read_input(request, SEQUENCE) or []
        methods = read_input(request, METHOD) or [b"wildtype"] * len(sequences)
        mutants = read_input(request, MUTANTS) or [b""] * len(sequences)
        jobs = []
        for place, values in enumerate(zip(sequences, methods, mutants, strict=True)):
            sequence, method, variants = (value.decode("utf-8", "replace") for value in values)
            name = position_name(place, len(sequences))
            jobs.append(self._job(sequence, method, variants, name))
        return jobs

    def _job(self, text: str, method: str, variants: str, name: str) -> Job:
        refuse_masks(text, name, self._alphabet)
        sequence = clean_sequence(text, name, SequencePolicy(self._alphabet), self._max_residues)
        known = [one.value for one in Method]
        if method not in known:
            raise InputError(
                f"record {name!r} asks for the method {method!r}; there are {' and '.join(known)}"
            )
        return Job(sequence, Method(method), parse_variants(variants, sequence, name))

    async def _mask(
        self,
        request: Any,
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
                    arrays = await self.ask(request, strings(texts), [MASKED_LOGITS])
                for (place, places, sequence), logits in zip(
                    chunk, arrays[MASKED_LOGITS], strict=True
                ):
                    wild = "".join(sequence[site] for site in places)
                    rows[place][places] = effects(logits[: len(places)], wild, self._alphabet)

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
            row[column] = score(variant, parts)
    return scores
