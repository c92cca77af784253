"""What server and client agree on: endpoints, tensors, types, limits, what a task tells of itself.

Letters: H hidden size, L residues, C classes (1 for a regression), -1 a size that varies.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from bionemo_ext.errors import ConfigError, NotFoundError

HOST = "esm2_embed"
SEQUENCE = "sequence"
LENGTH = "length"
POOLINGS = ("mean", "cls", "max")
RESIDUES = "residues"
PREDICTION = "prediction"
# Beside the encoder's model.py: a Hugging Face folder, and a folder of task folders.
ENCODER_FOLDER = "encoder"
TASKS_FOLDER = "tasks"

# Sequences in one request, and in one execution of the batcher.
MAX_BATCH_SIZE = 64
# Residue tokens that the server takes through the encoder in one pass: bounds its memory.
MAX_TOKENS_PER_PASS = 8_192
# Two, so that one can collect the next requests while the other waits for the encoder.
TASK_INSTANCES = 2

_TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_POSITION = re.compile(r"record '(\d+) of \d+'")
_RESERVED = frozenset({HOST, SEQUENCE, LENGTH, RESIDUES, PREDICTION, *POOLINGS})


class Level(str, Enum):
    """What one prediction is about."""

    SEQUENCE = "sequence"
    RESIDUE = "residue"


class Kind(str, Enum):
    """What is predicted: one class of several, any number of labels, or a number."""

    CLASSIFICATION = "classification"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"


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
    """

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class TaskInfo:
    """What a client must know of a task to read its predictions.

    Parameters
    ----------
    name : str
        The task, and its endpoint.
    level : Level
        One prediction a protein or one a residue.
    kind : Kind
        Probabilities of classes (which sum to 1) or of labels (each for itself), or one number.
    classes : tuple of str
        Names of the classes or labels in the order of the outputs; empty for a regression.
    """

    name: str
    level: Level
    kind: Kind
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _TASK_NAME.fullmatch(self.name) or self.name in _RESERVED:
            raise ConfigError(
                f"{self.name!r} cannot be the name of a task: a letter, then letters, digits, "
                f"'_' or '-', and none of {', '.join(sorted(_RESERVED))}"
            )

    @property
    def outputs(self) -> int:
        """Numbers a prediction has: C classes or labels, or 1 for a regression."""
        return 1 if self.kind is Kind.REGRESSION else len(self.classes)

    def tensor(self, name: str) -> TensorSpec:
        """Describe the task's output: FP32 [C], or [L, C] for a residue-level task."""
        dims = (self.outputs,) if self.level is Level.SEQUENCE else (-1, self.outputs)
        return TensorSpec(name, "TYPE_FP32", dims)


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
        Processes that serve it.
    max_batch_size : int
        Sequences in one request.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    instances: int = 1
    max_batch_size: int = MAX_BATCH_SIZE

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
    def task(self) -> TaskInfo | None:
        """The task that this endpoint predicts; None for the encoder's own."""
        text = self.parameters.get("task")
        return _task_from_json(json.loads(text)) if text else None

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


def encoder_endpoint(
    hidden_size: int = -1,
    max_residues: int = 1022,
    tasks: Sequence[TaskInfo] = (),
    *,
    digest: str = "",
    dtype: str = "float32",
) -> Endpoint:
    """Describe the endpoint that holds the encoder and every task's head.

    Parameters
    ----------
    hidden_size : int
        H of the encoder; -1 in the template.
    max_residues : int
        Residues a sequence may have.
    tasks : sequence of TaskInfo
        One output each, of the task's name.
    digest : str
        SHA-256 of the encoder's weights, by which users tell models apart.
    dtype : {"float32", "bfloat16"}
        Precision that the encoder computes in; outputs are FP32 always.
    """
    pooled = tuple(TensorSpec(name, "TYPE_FP32", (hidden_size,)) for name in POOLINGS)
    residues = TensorSpec(RESIDUES, "TYPE_FP32", (-1, hidden_size))
    heads = tuple(task.tensor(task.name) for task in tasks)
    return Endpoint(
        HOST,
        (TensorSpec(SEQUENCE, "TYPE_STRING", (1,)),),
        (*pooled, residues, TensorSpec(LENGTH, "TYPE_INT32", (1,)), *heads),
        {
            "digest": digest,
            "dtype": dtype,
            "max_residues": str(max_residues),
            "max_tokens_per_pass": str(MAX_TOKENS_PER_PASS),
            "tasks": json.dumps([asdict(task) for task in tasks]),
        },
    )


def task_endpoint(task: TaskInfo, max_residues: int = 1022) -> Endpoint:
    """Describe the thin endpoint of a task, which asks the encoder's endpoint for its output."""
    return Endpoint(
        task.name,
        (TensorSpec(SEQUENCE, "TYPE_STRING", (1,)),),
        (task.tensor(PREDICTION), TensorSpec(LENGTH, "TYPE_INT32", (1,))),
        {"host": HOST, "max_residues": str(max_residues), "task": json.dumps(asdict(task))},
        TASK_INSTANCES,
    )


def to_pbtxt(endpoint: Endpoint) -> str:
    """Write the text of the endpoint's ``config.pbtxt``."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    config = pb.ModelConfig(
        name=endpoint.name, backend="python", max_batch_size=endpoint.max_batch_size
    )
    for specs, messages in ((endpoint.inputs, config.input), (endpoint.outputs, config.output)):
        for spec in specs:
            messages.add(name=spec.name, data_type=pb.DataType.Value(spec.dtype), dims=spec.dims)
    config.instance_group.add(count=endpoint.instances, kind=pb.ModelInstanceGroup.KIND_CPU)
    config.dynamic_batching.SetInParent()
    for key, value in endpoint.parameters.items():
        config.parameters[key].string_value = value
    return text_format.MessageToString(config)


def from_pbtxt(text: str) -> Endpoint:
    """Read a ``config.pbtxt`` back.

    Raises
    ------
    ConfigError
        If it is not a model configuration.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    try:
        return from_message(text_format.Parse(text, pb.ModelConfig()))
    except text_format.ParseError as error:
        raise ConfigError(f"not a Triton model configuration: {error}") from None


def from_message(config: Any) -> Endpoint:
    """Read the ``ModelConfig`` message that a server gives of an endpoint."""
    from tritonclient.grpc import model_config_pb2 as pb

    def specs(messages: Any) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(m.name, pb.DataType.Name(m.data_type), tuple(m.dims)) for m in messages
        )

    return Endpoint(
        config.name,
        specs(config.input),
        specs(config.output),
        {key: value.string_value for key, value in config.parameters.items()},
        sum(group.count for group in config.instance_group),
        config.max_batch_size,
    )


def position_name(position: int, count: int) -> str:
    """Name the sequence at ``position`` (from 0) of a request with ``count`` of them.

    The server knows no other name; :func:`with_names` puts the caller's in its place.
    """
    return f"{position + 1} of {count}"


def is_about_a_record(message: str) -> bool:
    """Whether an error of the server says what is wrong with a sequence of the request."""
    return _POSITION.search(message) is not None


def with_names(message: str, names: Sequence[str]) -> str:
    """Replace positions that :func:`position_name` wrote into an error by the records' names."""

    def name(match: re.Match[str]) -> str:
        position = int(match[1]) - 1
        return f"record {names[position]!r}" if position < len(names) else match[0]

    return _POSITION.sub(name, message)


def _task_from_json(values: Mapping[str, Any]) -> TaskInfo:
    return TaskInfo(
        values["name"], Level(values["level"]), Kind(values["kind"]), tuple(values["classes"])
    )
