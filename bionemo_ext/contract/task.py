"""What a client must know of a task."""

import json
import re
from dataclasses import asdict, dataclass
from enum import Enum

from bionemo_ext.contract import names
from bionemo_ext.contract.endpoint import TensorSpec
from bionemo_ext.errors import ConfigError

_TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Tensors of the endpoint where the task's output joins theirs, and that endpoint itself.
_RESERVED = frozenset(
    {
        names.HOST, names.SEQUENCE, names.LAYER, names.LENGTH, names.RESIDUES, names.LOGITS,
        names.MASKED_LOGITS, names.CONTACTS, names.PREDICTION, *names.POOLINGS,
    }
)  # fmt: skip


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

    def to_json(self) -> str:
        """Write what :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "TaskInfo":
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        return cls(
            values["name"],
            Level(values["level"]),
            Kind(values["kind"]),
            tuple(values["classes"]),
        )
