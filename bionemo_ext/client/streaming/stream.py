"""Requests of one stream of records: chunks go out, results come back in order."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bionemo_ext.client.results import Result
from bionemo_ext.client.streaming import plan
from bionemo_ext.client.streaming.costs import Costs
from bionemo_ext.client.streaming.inputs import (
    Inputs,
    check_inputs,
    many_passes,
    tensors,
    variants_of,
)
from bionemo_ext.client.wire.connection import CLOSED, CLOSED_MEANWHILE, Connection
from bionemo_ext.contract import MUTANTS, Endpoint, with_names
from bionemo_ext.errors import InputError, RequestError, UnavailableError
from bionemo_ext.sequences import Record, SequencePolicy

Sequences = str | Record | Iterable[str | Record]
Progress = Callable[[int], None]
_Answers = list[dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class _Sent:
    """A chunk whose requests are under way."""

    jobs: list[plan.Job]
    requests: list[plan.Request]
    answers: list[asyncio.Task[_Answers]]


class Stream:
    """Sends chunks of records, and gives back their results.

    One chunk is under way while the one before it is handed out, so memory is bounded by two.

    Parameters
    ----------
    connection : Connection
        Whom to ask.
    endpoint : Endpoint
        What to ask.
    outputs : tuple of str
        Which of its outputs.
    inputs : Inputs
        Inputs beside the sequences.
    policy : SequencePolicy, optional
        What to do with odd and with long sequences.
    in_flight : int
        Requests that are under way at once.
    on_progress : callable, optional
        Called with the number of residues of each request that was answered.

    Raises
    ------
    InputError, NotFoundError
        If the endpoint has no such input or output, or the connection is closed.
    """

    def __init__(
        self,
        connection: Connection,
        endpoint: Endpoint,
        outputs: tuple[str, ...],
        inputs: Inputs,
        policy: SequencePolicy | None,
        in_flight: int,
        on_progress: Progress | None,
    ) -> None:
        if connection.closed:
            raise InputError(CLOSED)
        for output in outputs:
            endpoint.output(output)
        check_inputs(inputs, endpoint)
        self._connection, self.endpoint, self._inputs = connection, endpoint, inputs
        self._costs = Costs(endpoint, outputs, many_passes(inputs))
        self._policy = policy or SequencePolicy()
        self._in_flight, self._places = in_flight, asyncio.Semaphore(in_flight)
        self._on_progress = on_progress
        self._sent: deque[_Sent] = deque()

    @property
    def under_way(self) -> bool:
        """Whether there are chunks whose results were not given yet."""
        return bool(self._sent)

    def chunks(self, sequences: Sequences) -> Iterator[list[plan.Job]]:
        """Read records, as many at a time as are sent together.

        Raises
        ------
        SequenceError
            If a record breaks the policy.
        """
        limit = self.endpoint.max_residues
        limit = min(limit, self._policy.max_residues or limit)
        records = plan.named(sequences)
        jobs = plan.jobs(records, self._policy, limit, self._costs.outputs)
        return plan.chunks(jobs, self._costs, self._in_flight)

    async def feed(self, chunk: list[plan.Job]) -> list[Result]:
        """Send a chunk; gives the results of the one before it, once they are there."""
        loop = asyncio.get_running_loop()
        requests = plan.requests(chunk, self._costs)
        answers = [loop.create_task(self._ask(request, chunk)) for request in requests]
        self._sent.append(_Sent(chunk, requests, answers))
        return await self.oldest() if len(self._sent) > 1 else []

    async def oldest(self) -> list[Result]:
        """Give the results of the chunk that was sent first."""
        first = self._sent[0]
        found = await asyncio.gather(*first.answers)
        self._sent.popleft()
        answers: list[_Answers] = [[{}] * len(job.spans) for job in first.jobs]
        for request, parts in zip(first.requests, found, strict=True):
            for piece, part in zip(request.pieces, parts, strict=True):
                answers[piece.job][piece.window] = part
        pairs = zip(first.jobs, answers, strict=True)
        return [plan.result(job, self._costs.outputs, parts) for job, parts in pairs]

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [task for one in self._sent for task in one.answers]
        self._sent.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, request: plan.Request, chunk: list[plan.Job]) -> _Answers:
        jobs = [chunk[piece.job] for piece in request.pieces]
        positions = [job.position for job in jobs]
        sequences = [plan.spelled(piece.sequence) for piece in request.pieces]
        async with self._places:
            arrays = tensors(sequences, self._inputs, positions)
            if self._connection.closed:
                raise UnavailableError(CLOSED_MEANWHILE)
            try:
                found = await self._connection.infer(self.endpoint.name, arrays, request.outputs)
            except RequestError as error:
                raise RequestError(with_names(str(error), [job.name for job in jobs])) from None
        variants = (
            [variants_of(self._inputs, at) for at in positions] if MUTANTS in self._inputs else []
        )
        answers = plan.unpack(request, found, self.endpoint, variants)
        if self._on_progress is not None:
            self._on_progress(request.residues)
        return answers
