"""How records become requests, and answers become results.

Letters: L residues of a record, H hidden size, C classes, D either of the last two.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.results import Result
from bionemo_ext.client.streaming.costs import (
    REQUEST_TOKENS,
    REQUEST_WORK,
    Costs,
    may_be_cut,
    may_have_masks,
)
from bionemo_ext.contract import MASK, MASKED_LOGITS, RESIDUES, SCORE, Endpoint
from bionemo_ext.sequences import LengthPolicy, Record, SequencePolicy, clean_sequence, windows
from bionemo_ext.sequences.masked import MASK_LETTER, clean_masked, refuse_masks
from bionemo_ext.sequences.policy import refuse_long

# Of the answers of what is read ahead, sorted by length and sent; bounds the memory of a stream.
CHUNK_BYTES = 64 << 20
CHUNK_RECORDS = 2_048

Array = NDArray[Any]


@dataclass(frozen=True)
class Job:
    """One record, made fit for the model.

    Parameters
    ----------
    name : str
        What the record is called.
    sequence : str
        Cleaned, and truncated where the policy says so; ``#`` is a mask.
    length : int
        Residues before truncation.
    spans : tuple of (int, int)
        The windows [start, end) it is sent in; the whole of it when it fits.
    position : int
        Records before it in the stream.
    """

    name: str
    sequence: str
    length: int
    spans: tuple[tuple[int, int], ...]
    position: int


@dataclass(frozen=True)
class Piece:
    """One window of one job of a chunk: what the server sees as a sequence."""

    job: int
    window: int
    sequence: str


@dataclass(frozen=True)
class Request:
    """Pieces that are sent together, and the outputs to ask for."""

    pieces: tuple[Piece, ...]
    outputs: tuple[str, ...]

    @property
    def residues(self) -> int:
        """Residues of all pieces."""
        return sum(len(piece.sequence) for piece in self.pieces)


def named(sequences: str | Record | Iterable[str | Record]) -> Iterator[Record]:
    """Yield records; plain strings are called by their position from 1."""
    items = [sequences] if isinstance(sequences, str | Record) else sequences
    for position, item in enumerate(items, start=1):
        yield Record(str(position), item) if isinstance(item, str) else item


def jobs(
    records: Iterable[Record], policy: SequencePolicy, limit: int, outputs: Sequence[str]
) -> Iterator[Job]:
    """Clean each record and apply the policy for long ones.

    Raises
    ------
    SequenceError
        If a record breaks the policy, or is too long for outputs that only a whole protein has.
    """
    masks = may_have_masks(outputs)
    if not may_be_cut(outputs):
        policy = replace(policy, long=LengthPolicy.REFUSE)
    for position, record in enumerate(records):
        if masks:
            sequence = clean_masked(record.sequence, record.name, policy)
        else:
            refuse_masks(record.sequence, record.name, policy.alphabet)
            sequence = clean_sequence(record.sequence, record.name, policy)
        length = len(sequence)
        spans: tuple[tuple[int, int], ...] = ((0, length),)
        if length > limit:
            if policy.long is LengthPolicy.REFUSE:
                refuse_long(sequence, record.name, limit)
            if policy.long is LengthPolicy.TRUNCATE:
                sequence, spans = sequence[:limit], ((0, limit),)
            else:
                spans = tuple(windows(length, limit))
        yield Job(record.name, sequence, length, spans, position)


def chunks(items: Iterable[Job], costs: Costs, in_flight: int) -> Iterator[list[Job]]:
    """Jobs in their order, as many at a time as make ``in_flight`` requests or so.

    Few, so that the first answers come soon and little is lost of a stream that is broken off.
    """
    most_residues, most_work = in_flight * REQUEST_TOKENS, in_flight * REQUEST_WORK
    chunk: list[Job] = []
    residues = work = size = 0
    for job in items:
        chunk.append(job)
        residues += len(job.sequence)
        work += sum(costs.work(end - start) for start, end in job.spans)
        size += costs.answer_bytes(len(job.sequence))
        full = residues >= most_residues or work >= most_work
        if full or size >= CHUNK_BYTES or len(chunk) >= CHUNK_RECORDS:
            yield chunk
            chunk, residues, work, size = [], 0, 0, 0
    if chunk:
        yield chunk


def requests(chunk: Sequence[Job], costs: Costs) -> list[Request]:
    """Group the pieces of a chunk by outputs and length, the longest first."""
    groups: dict[tuple[str, ...], list[Piece]] = {}
    for index, job in enumerate(chunk):
        wanted = costs.outputs if len(job.spans) == 1 else _of_windows(costs.outputs)
        pieces = (
            Piece(index, window, job.sequence[start:end])
            for window, (start, end) in enumerate(job.spans)
        )
        groups.setdefault(wanted, []).extend(pieces)
    return [
        Request(batch, wanted)
        for wanted, pieces_of in groups.items()
        for batch in _batches(pieces_of, replace(costs, outputs=wanted))
    ]


def _batches(pieces: Iterable[Piece], costs: Costs) -> Iterator[tuple[Piece, ...]]:
    batch: list[Piece] = []
    tokens = work = 0
    for piece in sorted(pieces, key=lambda piece: -len(piece.sequence)):
        longest = len(batch[0].sequence) if batch else len(piece.sequence)
        tokens += len(piece.sequence) + 2
        work += costs.work(len(piece.sequence))
        if batch and not costs.fits(len(batch) + 1, longest, tokens, work):
            yield tuple(batch)
            batch, tokens, work = [], len(piece.sequence) + 2, costs.work(len(piece.sequence))
        batch.append(piece)
    if batch:
        yield tuple(batch)


def spelled(sequence: str) -> str:
    """Write masks as a server reads them."""
    return sequence.replace(MASK_LETTER, MASK)


def unpack(
    request: Request, arrays: Mapping[str, Array], endpoint: Endpoint, variants: Sequence[int] = ()
) -> list[dict[str, Array]]:
    """Split the answer of a request into one dictionary a piece, padding removed.

    Parameters
    ----------
    request : Request
        What was asked.
    arrays : mapping of str to NDArray
        [B, ...] of each output.
    endpoint : Endpoint
        Tells which dimensions vary with the residues.
    variants : sequence of int
        Of each piece, how many variants were to be scored.
    """
    answers = []
    for row, piece in enumerate(request.pieces):
        rows = {
            SCORE: variants[row] if variants else 0,
            MASKED_LOGITS: piece.sequence.count(MASK_LETTER),
        }
        answer = {}
        for name, array in arrays.items():
            size = rows.get(name, len(piece.sequence))
            dims = endpoint.output(name).dims
            one = array[row][tuple(slice(size) if dim < 0 else slice(None) for dim in dims)]
            # Copied, so that the padded whole can be released, and users may write to it.
            answer[name] = _texts(one) if one.dtype == np.object_ else one.copy()
        answers.append(answer)
    return answers


def _texts(values: Array) -> Array:
    return np.array([value.decode() for value in values], dtype=np.object_)


def result(job: Job, outputs: Sequence[str], answers: Sequence[Mapping[str, Array]]) -> Result:
    """Put the windows of a job together.

    Rows of residues that several windows cover are averaged; ``mean`` and ``max`` are taken
    over the combined rows; whatever is one vector a window (``cls``, a prediction for the whole
    protein) is averaged over the windows.
    """
    if len(answers) == 1:
        return Result(job.name, spelled(job.sequence), job.length, 1, answers[0])
    combined: dict[str, Array] = {}
    for name in answers[0]:
        parts = [answer[name] for answer in answers]
        flat = parts[0].ndim == 1
        combined[name] = np.mean(parts, axis=0) if flat else _overlapped(job, parts)
    if "mean" in outputs:
        combined["mean"] = combined[RESIDUES].mean(axis=0)
    if "max" in outputs:
        combined["max"] = combined[RESIDUES].max(axis=0)
    values = {name: combined[name] for name in outputs}
    return Result(job.name, job.sequence, job.length, len(answers), values)


def _overlapped(job: Job, parts: Sequence[Array]) -> Array:
    total = np.zeros((len(job.sequence), parts[0].shape[1]), dtype=np.float32)
    count = np.zeros((len(job.sequence), 1), dtype=np.float32)
    for (start, end), part in zip(job.spans, parts, strict=True):
        total[start:end] += part
        count[start:end] += 1
    return total / count


def _of_windows(outputs: Sequence[str]) -> tuple[str, ...]:
    """Name what to ask of each window so that ``outputs`` of the whole can be computed."""
    return tuple(dict.fromkeys(RESIDUES if name in ("mean", "max") else name for name in outputs))
