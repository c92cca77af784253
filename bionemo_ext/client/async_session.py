"""What every client has: its servers, what they serve, streams of records."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from bionemo_ext.client.directory import Directory, TaskPlan
from bionemo_ext.client.results import Prediction, Result
from bionemo_ext.client.streaming.inputs import Inputs, tensors
from bionemo_ext.client.streaming.stream import Progress, Sequences, Stream
from bionemo_ext.client.wire.access import Access, Tls
from bionemo_ext.client.wire.address import parse_addresses
from bionemo_ext.client.wire.connection import Connection
from bionemo_ext.client.wire.retry import Retry
from bionemo_ext.contract import DEFAULT_MODEL, Endpoint, TaskInfo, embed_name
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import SequencePolicy


class AsyncSession:
    """Base of :class:`bionemo_ext.client.AsyncClient`, whose parameters it takes."""

    def __init__(
        self,
        url: str | Iterable[str],
        *,
        timeout_s: float = 600.0,
        in_flight: int = 4,
        model: str = DEFAULT_MODEL,
        retry: Retry | None = None,
        tls: Tls | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        insecure_token: bool = False,
        connection: Connection | None = None,
    ) -> None:
        if timeout_s <= 0:
            raise InputError(f"timeout_s must be above 0, not {timeout_s:g}")
        if in_flight < 1:
            raise InputError(f"in_flight must be at least 1, not {in_flight}")
        self.model, self.host = model, embed_name(model)
        self._in_flight = in_flight
        if connection is None:
            addresses = parse_addresses(url)
            access = Access.of(
                addresses, tls=tls, token=token, headers=headers, insecure_token=insecure_token
            )
            connection = Connection(addresses, access, timeout_s, retry or Retry())
            url = ",".join(map(str, addresses))
        self.url = str(url)
        self._connection = connection
        self._directory = Directory(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As :meth:`Client.close`."""
        await self._connection.close()

    async def ready(self) -> bool:
        """As :meth:`Client.ready`."""
        return await self._connection.ready()

    async def models(self) -> dict[str, Endpoint]:
        """As :meth:`Client.models`."""
        return await self._directory.models()

    async def task(self, name: str) -> TaskInfo:
        """As :meth:`Client.task`."""
        return (await self._directory.task(name))[1]

    async def limit(self, endpoint: str | None = None) -> int:
        """As :meth:`Client.limit`."""
        return (await self._directory.endpoint(endpoint or self.host)).max_residues

    async def infer(
        self,
        endpoint: str,
        sequences: Sequence[str],
        outputs: Sequence[str],
        *,
        inputs: Inputs | None = None,
    ) -> dict[str, NDArray[Any]]:
        """As :meth:`Client.infer`."""
        arrays = tensors(sequences, inputs or {}, range(len(sequences)))
        return await self._connection.infer(endpoint, arrays, outputs)

    async def stream_predictions(
        self,
        sequences: Sequences,
        tasks: Sequence[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> AsyncIterator[tuple[Result, list[Prediction]]]:
        """As :meth:`Client.stream_predictions`."""
        plan = await self.plan(tasks)
        stream = await self.open(plan.outputs, plan.endpoint, {}, policy, on_progress)
        async with aclosing(results_of(stream, sequences)) as results:
            async for result in results:
                yield result, plan.predictions(result)

    async def stream(
        self,
        sequences: Sequences,
        outputs: tuple[str, ...],
        endpoint: str | None = None,
        *,
        inputs: Inputs | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> AsyncIterator[Result]:
        """As :meth:`Client.stream`."""
        stream = await self.open(outputs, endpoint, inputs, policy, on_progress)
        async with aclosing(results_of(stream, sequences)) as results:
            async for result in results:
                yield result

    async def plan(self, tasks: Iterable[str]) -> TaskPlan:
        """Say which endpoint and outputs give the predictions of ``tasks``."""
        return await self._directory.plan(tasks)

    async def open(
        self,
        outputs: tuple[str, ...],
        endpoint: str | None,
        inputs: Inputs | None,
        policy: SequencePolicy | None,
        on_progress: Progress | None,
    ) -> Stream:
        """Begin a stream by hand; whoever does closes it."""
        about = await self._directory.endpoint(endpoint or self.host)
        return Stream(
            self._connection, about, outputs, inputs or {}, policy, self._in_flight, on_progress
        )


async def results_of(stream: Stream, sequences: Sequences) -> AsyncGenerator[Result, None]:
    """Results in order; what is under way is given up when nobody wants them any more."""
    try:
        for chunk in stream.chunks(sequences):
            for result in await stream.feed(chunk):
                yield result
        while stream.under_way:
            for result in await stream.oldest():
                yield result
    finally:
        await stream.close()
