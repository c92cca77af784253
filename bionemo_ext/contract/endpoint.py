"""One endpoint: all that its ``config.pbtxt`` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bionemo_ext.contract.names import MAX_BATCH_SIZE, QUEUE_SIZE, QUEUE_TIMEOUT_S
from bionemo_ext.errors import NotFoundError

if TYPE_CHECKING:
    from bionemo_ext.contract.task import TaskInfo


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an endpoint, without the batch dimension.

    Parameters
    ----------
    name : str
        The tensor's name.
    dtype : str
        Triton's name of the type: ``TYPE_STRING``, ``TYPE_FP32`` or ``TYPE_INT32``.
    dims : tuple of int
        The shape; -1 where it varies.
    optional : bool
        Whether a request may do without this input.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class QueuePolicy:
    """How many requests may wait for an endpoint; others are refused as ``UNAVAILABLE``.

    Parameters
    ----------
    size : int
        Requests that may wait.
    timeout_s : float
        How long one may wait; a request may ask for less.
    by_triton : bool
        Whether Triton's batcher keeps the queue. Its bounds cost it half a second now and then,
        which only matters where answers are quick: there the model itself keeps the queue.
    """

    size: int = QUEUE_SIZE
    timeout_s: float = QUEUE_TIMEOUT_S
    by_triton: bool = False


@dataclass(frozen=True)
class Endpoint:
    """One model of the repository, all that its ``config.pbtxt`` says.

    Parameters
    ----------
    name : str
        The endpoint.
    inputs, outputs : tuple of TensorSpec
        Its tensors, without the batch dimension.
    parameters : mapping of str to str
        What the server's code and the client read besides: limits, encoder digest, task.
    instances : int
        Processes that serve it; on a machine with GPUs as many a GPU where ``on_gpu``.
    max_batch_size : int
        Sequences in one request.
    queue : QueuePolicy
        What may wait.
    on_gpu : bool
        Whether it takes a GPU where there is one.
    cached : bool
        Whether a server that was started with a response cache keeps its answers. Triton looks an
        answer up by the inputs alone, so only an endpoint with one output may say so.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    instances: int = 1
    max_batch_size: int = MAX_BATCH_SIZE
    queue: QueuePolicy = QueuePolicy()
    on_gpu: bool = False
    cached: bool = False

    def __post_init__(self) -> None:
        if self.cached and len(self.outputs) != 1:
            raise ValueError(f"{self.name!r} has several outputs: its answers cannot be cached")

    def output(self, name: str) -> TensorSpec:
        """Find the output called ``name``.

        Raises
        ------
        NotFoundError
            If the endpoint has none of that name.
        """
        for spec in self.outputs:
            if spec.name == name:
                return spec
        raise NotFoundError(f"{self.name!r} has no output {name!r}")

    @property
    def host(self) -> str:
        """The endpoint that computes: this one, or the one it asks."""
        return self.parameters.get("host", self.name)

    @property
    def task(self) -> TaskInfo | None:
        """The task that this endpoint predicts; None for the encoder's own."""
        from bionemo_ext.contract.task import TaskInfo

        text = self.parameters.get("task")
        return TaskInfo.from_json(text) if text else None

    @property
    def max_residues(self) -> int:
        """Residues a sequence may have.

        Raises
        ------
        NotFoundError
            If the endpoint is not one of ours.
        """
        if "max_residues" not in self.parameters:
            raise NotFoundError(f"{self.name!r} is not an endpoint that bionemo-ext exported")
        return int(self.parameters["max_residues"])
