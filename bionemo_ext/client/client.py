"""The client: sequences in, arrays out."""

import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client import plan
from bionemo_ext.client.connection import Connection
from bionemo_ext.client.results import Prediction, Result, TruncationWarning
from bionemo_ext.contract import (
    DEFAULT_MODEL,
    POOLINGS,
    PREDICTION,
    RESIDUES,
    Endpoint,
    TaskInfo,
    embed_name,
    with_names,
)
from bionemo_ext.errors import InputError, NotFoundError, RequestError, UnavailableError
from bionemo_ext.sequences import Record, SequencePolicy

Sequences = str | Iterable[str | Record]
Progress = Callable[[int], None]


class Client:
    """Talks to the endpoints of one server.

    Parameters
    ----------
    url : str
        ``grpc://host:port``. Nothing is sent before the first call.
    timeout_s : float
        How long the answer to one request may take.
    in_flight : int
        Requests that are under way at once.
    model : str
        Which of the server's models to ask; what the names of its endpoints begin with.

    Raises
    ------
    InputError
        If ``url`` has another form.

    Examples
    --------
    >>> with Client("grpc://127.0.0.1:8001") as client:  # doctest: +SKIP
    ...     vectors = client.embed(["MKTVRQG", "MALWMRLLPLL"])
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 600.0,
        in_flight: int = 4,
        model: str = DEFAULT_MODEL,
    ) -> None:
        self.url = url
        self.host = embed_name(model)
        self._connection = Connection(url, timeout_s)
        self._in_flight = in_flight

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
        """Close the connection."""
        self._connection.close()

    def ready(self) -> bool:
        """Whether the server answers and all its models are ready."""
        try:
            return self._connection.server_ready()
        except UnavailableError:
            return False

    def models(self) -> dict[str, Endpoint]:
        """Describe the endpoints by name; ``.task`` of each tells what it predicts."""
        return {name: self._connection.endpoint(name) for name in self._connection.endpoint_names()}

    def task(self, name: str) -> TaskInfo:
        """Describe the task ``name``.

        Raises
        ------
        NotFoundError
            If the server has no such task; the message names those there are.
        """
        return self._task_endpoint(name)[1]

    def limit(self, endpoint: str | None = None) -> int:
        """Count the residues that a sequence may have at an endpoint; the encoder's by default."""
        return self._endpoint(endpoint or self.host).max_residues

    @overload
    def embed(
        self,
        sequences: Sequences,
        pooling: Literal["mean", "cls", "max"] = "mean",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> NDArray[np.float32]: ...

    @overload
    def embed(
        self,
        sequences: Sequences,
        pooling: Literal["residues"],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[NDArray[np.float32]]: ...

    def embed(
        self,
        sequences: Sequences,
        pooling: str = "mean",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Embed sequences.

        Parameters
        ----------
        sequences : str, or iterable of str or Record
            Proteins; records keep their names in errors, strings are called by position.
        pooling : {"mean", "cls", "max", "residues"}
            How residues become one vector: their mean or maximum (without ``<cls>`` and
            ``<eos>``), or the ``<cls>`` token; ``residues`` gives all of them.
        policy : SequencePolicy, optional
            What to do with unknown letters and with sequences beyond the model's limit.
        on_progress : callable, optional
            Called with the number of residues of each request that was answered.

        Returns
        -------
        NDArray [N, H], or for ``residues`` a list of NDArray [L, H]
            FP32, in the order of ``sequences``.

        Raises
        ------
        SequenceError
            If a sequence breaks the policy.
        ServerError, RequestError, NotFoundError
            If the server cannot be reached, fails or refuses.

        Warns
        -----
        TruncationWarning
            Once, with the number of sequences that were cut.
        """
        if pooling not in (*POOLINGS, RESIDUES):
            raise InputError(
                f"pooling {pooling!r} is not one of {', '.join((*POOLINGS, RESIDUES))}"
            )
        results = list(self.stream(sequences, (pooling,), policy=policy, on_progress=on_progress))
        _warn_truncated(results)
        values = [result.values[pooling] for result in results]
        if pooling == RESIDUES:
            return values
        if not values:
            return np.empty(
                (0, self._endpoint(self.host).output(pooling).dims[-1]), dtype=np.float32
            )
        return np.stack(values)

    @overload
    def predict(
        self,
        sequences: Sequences,
        task: str,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self,
        sequences: Sequences,
        task: Collection[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> dict[str, list[Prediction]]: ...

    def predict(
        self,
        sequences: Sequences,
        task: str | Collection[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Prediction] | dict[str, list[Prediction]]:
        """Predict a task, or several with one pass of the encoder that they share.

        Parameters, errors and warnings are those of :meth:`embed`.

        Returns
        -------
        list of Prediction
            In the order of ``sequences``; of several tasks such a list by the name of each.
        """
        tasks = [task] if isinstance(task, str) else list(task)
        found: dict[str, list[Prediction]] = {name: [] for name in tasks}
        results = []
        stream = self.stream_predictions(sequences, tasks, policy=policy, on_progress=on_progress)
        for result, predictions in stream:
            results.append(result)
            for prediction in predictions:
                found[prediction.task.name].append(prediction)
        _warn_truncated(results)
        return found[task] if isinstance(task, str) else found

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
        found = [self._task_endpoint(name) for name in dict.fromkeys(tasks)]
        infos = [info for _, info in found]
        if not infos:
            raise InputError("the name of a task is needed")
        hosts = sorted({about.host for about, _ in found})
        if len(hosts) > 1:
            raise InputError(
                f"tasks of several models ({', '.join(hosts)}) have no pass to share: ask for "
                "those of one model at a time"
            )
        if len(infos) == 1:
            endpoint, outputs = infos[0].name, (PREDICTION,)
        else:  # the encoder's endpoint has every task's output
            endpoint, outputs = hosts[0], tuple(info.name for info in infos)
        for r in self.stream(sequences, outputs, endpoint, policy=policy, on_progress=on_progress):
            yield (
                r,
                [
                    Prediction(r.name, r.sequence, info, r.values[output])
                    for info, output in zip(infos, outputs, strict=True)
                ],
            )

    def stream(
        self,
        sequences: Sequences,
        outputs: tuple[str, ...],
        endpoint: str | None = None,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Iterator[Result]:
        """Results one at a time, in the order of ``sequences``, in constant memory.

        Parameters
        ----------
        sequences : str, or iterable of str or Record
            Read only as far ahead as keeps the server busy.
        outputs : tuple of str
            Several outputs of one pass of the encoder, for example ``("mean", "residues")``.
        endpoint : str, optional
            That of a task; the encoder's when not given.
        policy, on_progress
            As for :meth:`embed`.

        Yields
        ------
        Result
        """
        policy = policy or SequencePolicy()
        endpoint = endpoint or self.host
        about = self._endpoint(endpoint)
        limit = min(about.max_residues, policy.max_residues or about.max_residues)
        todo = plan.chunks(plan.jobs(plan.named(sequences), policy, limit))
        sent: deque[tuple[list[plan.Job], list[tuple[plan.Request, _Answer]]]] = deque()
        pool = ThreadPoolExecutor(self._in_flight, thread_name_prefix="bionemo-ext-client")
        try:
            for chunk in todo:
                sent.append(
                    (
                        chunk,
                        [
                            (request, pool.submit(self._send, endpoint, request, on_progress))
                            for request in plan.requests(chunk, outputs, about.max_batch_size)
                        ],
                    )
                )
                # One chunk stays under way while the one before it is handed out.
                if len(sent) > 1:
                    yield from _collect(*sent.popleft(), outputs)
            while sent:
                yield from _collect(*sent.popleft(), outputs)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _send(
        self, endpoint: str, request: plan.Request, on_progress: Progress | None
    ) -> list[dict[str, NDArray[np.float32]]]:
        sequences = [piece.sequence for piece in request.pieces]
        arrays = self._connection.infer(endpoint, sequences, request.outputs)
        if on_progress is not None:
            on_progress(sum(map(len, sequences)))
        return plan.unpack(request, arrays)

    def _endpoint(self, name: str) -> Endpoint:
        if name == self.host:
            return self._connection.endpoint(name)
        return self._task_endpoint(name)[0]

    def _task_endpoint(self, name: str) -> tuple[Endpoint, TaskInfo]:
        names = self._connection.endpoint_names()
        about = self._connection.endpoint(name) if name in names else None
        if about is None or about.task is None:
            tasks = [other for other, about in self.models().items() if about.task]
            raise NotFoundError(
                f"the server has no task {name!r}; its tasks are: {', '.join(tasks) or 'none'}"
            )
        return about, about.task


_Answer = Future[list[dict[str, NDArray[np.float32]]]]


def _collect(
    chunk: list[plan.Job],
    requests: list[tuple[plan.Request, _Answer]],
    outputs: tuple[str, ...],
) -> Iterator[Result]:
    answers: list[list[dict[str, NDArray[np.float32]]]] = [[{}] * len(j.spans) for j in chunk]
    for request, future in requests:
        try:
            parts = future.result()
        except RequestError as error:
            names = [chunk[piece.job].name for piece in request.pieces]
            raise RequestError(with_names(str(error), names)) from None
        for piece, part in zip(request.pieces, parts, strict=True):
            answers[piece.job][piece.window] = part
    for job, parts in zip(chunk, answers, strict=True):
        yield plan.result(job, outputs, parts)


def _warn_truncated(results: list[Result]) -> None:
    cut = [result for result in results if result.truncated]
    if cut:
        limit = len(cut[0].sequence)
        warnings.warn(
            f"{len(cut):,} of {len(results):,} sequences were longer than {limit:,} residues and "
            "only their beginning was used; another policy refuses them or uses windows",
            TruncationWarning,
            stacklevel=3,
        )
