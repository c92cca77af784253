"""How records become requests, and answers become results.

Letters: L residues of a record, H hidden size, C classes, D either of the last two.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.results import Result
from bionemo_ext.contract import RESIDUES
from bionemo_ext.sequences import LengthPolicy, Record, SequencePolicy, clean_sequence, windows
from bionemo_ext.sequences.policy import refuse_long

# Tokens of one request: enough to fill the encoder, few enough for progress to be seen.
REQUEST_TOKENS = 4096
# What is read ahead, sorted by length and sent; bounds the memory of a stream of records.
CHUNK_RESIDUES = 65_536
CHUNK_RECORDS = 2_048

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """One record, made fit for the model.

    Parameters
    ----------
    name : str
        What the record is called.
    sequence : str
        Cleaned, and truncated where the policy says so.
    length : int
        Residues before truncation.
    spans : tuple of (int, int)
        The windows [start, end) it is sent in; the whole of it when it fits.
    """

    name: str
    sequence: str
    length: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Piece:
    """One window of one job: what the server sees as a sequence."""

    job: int
    window: int
    sequence: str


@dataclass(frozen=True)
class Request:
    """Pieces that are sent together, and the outputs to ask for."""

    pieces: tuple[Piece, ...]
    outputs: tuple[str, ...]


def named(sequences: str | Iterable[str | Record]) -> Iterator[Record]:
    """Yield records; plain strings are called by their position from 1."""
    items: Iterable[str | Record] = [sequences] if isinstance(sequences, str) else sequences
    for position, item in enumerate(items, start=1):
        yield Record(str(position), item) if isinstance(item, str) else item


def jobs(records: Iterable[Record], policy: SequencePolicy, limit: int) -> Iterator[Job]:
    """Clean each record and apply the policy for long ones.

    Raises
    ------
    SequenceError
        If a record breaks the policy.
    """
    for record in records:
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
        yield Job(record.name, sequence, length, spans)


def chunks(items: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs in their order, as many at a time as memory should hold."""
    chunk: list[Job] = []
    residues = 0
    for job in items:
        chunk.append(job)
        residues += len(job.sequence)
        if residues >= CHUNK_RESIDUES or len(chunk) >= CHUNK_RECORDS:
            yield chunk
            chunk, residues = [], 0
    if chunk:
        yield chunk


def requests(chunk: Sequence[Job], outputs: Sequence[str], max_batch: int) -> list[Request]:
    """Group the pieces of a chunk by outputs and length, the longest first."""
    groups: dict[tuple[str, ...], list[Piece]] = {}
    for index, job in enumerate(chunk):
        wanted = tuple(outputs) if len(job.spans) == 1 else _of_windows(outputs)
        pieces = (
            Piece(index, window, job.sequence[start:end])
            for window, (start, end) in enumerate(job.spans)
        )
        groups.setdefault(wanted, []).extend(pieces)
    found = []
    for wanted, pieces_of in groups.items():
        batch: list[Piece] = []
        tokens = 0
        for piece in sorted(pieces_of, key=lambda piece: -len(piece.sequence)):
            more = len(piece.sequence) + 2
            if batch and (len(batch) == max_batch or tokens + more > REQUEST_TOKENS):
                found.append(Request(tuple(batch), wanted))
                batch, tokens = [], 0
            batch.append(piece)
            tokens += more
        found.append(Request(tuple(batch), wanted))
    return found


def unpack(request: Request, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Split the answer of a request into one dictionary a piece, padding removed."""
    answers = []
    for row, piece in enumerate(request.pieces):
        answer = {}
        for name, array in arrays.items():
            one = array[row]
            # Copied, so that the padded whole can be released, and users may write to it.
            answer[name] = (one[: len(piece.sequence)] if one.ndim == 2 else one).copy()
        answers.append(answer)
    return answers


def result(job: Job, outputs: Sequence[str], answers: Sequence[Mapping[str, Array]]) -> Result:
    """Put the windows of a job together.

    Rows of residues that several windows cover are averaged; ``mean`` and ``max`` are taken
    over the combined rows; whatever is one vector a window (``cls``, a prediction for the whole
    protein) is averaged over the windows.
    """
    if len(answers) == 1:
        return Result(job.name, job.sequence, job.length, 1, answers[0])
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
