"""What every blocking client has: its servers, what they serve, streams of records."""

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from bionemo_ext.client.async_client import AsyncClient
from bionemo_ext.client.loop_thread import LoopThread
from bionemo_ext.client.results import Prediction, Result
from bionemo_ext.client.streaming.inputs import Inputs
from bionemo_ext.client.streaming.stream import Progress, Sequences
from bionemo_ext.client.wire.access import Tls
from bionemo_ext.client.wire.connection import Connection
from bionemo_ext.client.wire.retry import Retry
from bionemo_ext.contract import DEFAULT_MODEL, Endpoint, TaskInfo
from bionemo_ext.sequences import SequencePolicy


class Session:
    """Base of :class:`bionemo_ext.client.Client`, whose parameters it takes."""

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
        self._client = AsyncClient(
            url,
            timeout_s=timeout_s,
            in_flight=in_flight,
            model=model,
            retry=retry,
            tls=tls,
            token=token,
            headers=headers,
            insecure_token=insecure_token,
            connection=connection,
        )
        self.url, self.model, self.host = self._client.url, self._client.model, self._client.host
        self._thread = LoopThread()
        # Also when the program ends without close().
        self._end = weakref.finalize(self, _end, self._thread, self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; what is under way is given up."""
        self._end()

    def ready(self) -> bool:
        """Whether a server answers and all its models are ready; asked once, without retries."""
        return self._thread.run(self._client.ready)

    def models(self) -> dict[str, Endpoint]:
        """Describe the endpoints by name; ``.task`` of each tells what it predicts."""
        return self._thread.run(self._client.models)

    def task(self, name: str) -> TaskInfo:
        """Describe the task ``name``.

        Raises
        ------
        NotFoundError
            If the server has no such task; the message names those there are.
        """
        return self._thread.run(self._client.task, name)

    def limit(self, endpoint: str | None = None) -> int:
        """Count the residues that a sequence may have at an endpoint; the encoder's by default."""
        return self._thread.run(self._client.limit, endpoint)

    def infer(
        self,
        endpoint: str,
        sequences: Sequence[str],
        outputs: Sequence[str],
        *,
        inputs: Inputs | None = None,
    ) -> dict[str, NDArray[Any]]:
        """One request as it stands: nothing is cleaned, cut or grouped, and padding stays.

        Parameters
        ----------
        endpoint : str
            Whom to ask.
        sequences : sequence of str
            B of them, as the server is to read them.
        outputs : sequence of str
            What to ask for.
        inputs : mapping, optional
            As for :meth:`stream`.

        Returns
        -------
        dict of str to NDArray [B, ...]
            By the name of the output, as ``docs/serving.md`` has them.
        """
        return self._thread.run(self._client.infer, endpoint, sequences, outputs, inputs=inputs)

    def stream_predictions(
        self,
        sequences: Sequences,
        tasks: Sequence[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Iterator[tuple[Result, list[Prediction]]]:
        """Predictions of one or several tasks, a record at a time, as :meth:`stream` gives them.

        Yields
        ------
        result, predictions : Result, list of Prediction
            One prediction a task, in the order of ``tasks``.
        """
        plan = self._thread.run(self._client.plan, tasks)
        results = self.stream(
            sequences, plan.outputs, plan.endpoint, policy=policy, on_progress=on_progress
        )
        for result in results:
            yield result, plan.predictions(result)

    def stream(
        self,
        sequences: Sequences,
        outputs: tuple[str, ...],
        endpoint: str | None = None,
        *,
        inputs: Inputs | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Iterator[Result]:
        """Results one at a time, in the order of ``sequences``, in constant memory.

        Parameters
        ----------
        sequences : str, Record, or iterable of them
            Read only as far ahead as keeps the server busy.
        outputs : tuple of str
            Several outputs of one pass of the encoder, for example ``("mean", "residues")``.
        endpoint : str, optional
            Another than the encoder's, for example that of a task.
        inputs : mapping of str to str, int or callable, optional
            The endpoint's inputs beside the sequence: a value for all records, or what gives that
            of the record at a position, from 0.
        policy, on_progress
            As for :meth:`embed`. Windows and truncation are refused where they make no sense.

        Yields
        ------
        Result
        """
        stream = self._thread.run(self._client.open, outputs, endpoint, inputs, policy, on_progress)
        try:
            for chunk in stream.chunks(sequences):  # read in the thread of the caller
                yield from self._thread.run(stream.feed, chunk)
            while stream.under_way:
                yield from self._thread.run(stream.oldest)
        finally:
            # Not waited for: it may be the garbage collector that ends this, in any thread.
            self._thread.start(stream.close)


def _end(thread: LoopThread, client: AsyncClient) -> None:
    thread.close(client.close)
