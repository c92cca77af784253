"""A task: a small head on frozen embeddings, and the folder it is kept in.

The heads are the published ones (FLIP, Dallago et al., 2021; NVIDIA's ESM benchmark): for
residues a two-layer convolution, for sequences mean pooling and an MLP.
Shapes: B sequences, L residues, H hidden, C classes (1 for regression).
"""

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import load_tensors, save_tensors
from bionemo_ext.inference.packing import Encoded


class Level(str, Enum):
    """What one prediction is about."""

    SEQUENCE = "sequence"
    RESIDUE = "residue"


class Kind(str, Enum):
    """What is predicted."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class HeadKind(str, Enum):
    """The small network between embedding and prediction."""

    LINEAR = "linear"
    MLP = "mlp"
    CONVOLUTION = "convolution"


@dataclass(frozen=True)
class TaskSpec:
    """All that is needed to use a trained head.

    Parameters
    ----------
    name : str
        Of the task, and so of its endpoint.
    level, kind : Level, Kind
        One prediction a sequence or a residue; a class or a number.
    classes : tuple of str
        Names in the order of the outputs; empty for regression.
    head : HeadKind
        ``linear`` and ``mlp`` for sequences, ``linear`` and ``convolution`` for residues.
    input_size : int
        H, width of the embedding.
    inner_size : int
        Width of the MLP's or channels of the convolution's inner layer.
    dropout : float
        In training.
    mean, scale : float
        A regression head's output times ``scale`` plus ``mean`` is in the target's unit.
    encoder_digest : str
        SHA-256 of the ``model.safetensors`` whose embeddings the head was trained on.
    """

    name: str
    level: Level
    kind: Kind
    classes: tuple[str, ...]
    head: HeadKind
    input_size: int
    inner_size: int
    dropout: float = 0.25
    mean: float = 0.0
    scale: float = 1.0
    encoder_digest: str = ""

    @property
    def outputs(self) -> int:
        """Numbers a prediction has, C."""
        return len(self.classes) if self.kind is Kind.CLASSIFICATION else 1


class Head(nn.Module):
    """The network of a :class:`TaskSpec`: pooled [B, H] or residues [B, L, H] to raw outputs."""

    def __init__(self, spec: TaskSpec) -> None:
        super().__init__()
        if spec.head is HeadKind.LINEAR:
            layers: list[nn.Module] = [nn.Linear(spec.input_size, spec.outputs)]
        elif spec.head is HeadKind.MLP:
            layers = [
                nn.Linear(spec.input_size, spec.inner_size),
                nn.ReLU(),
                nn.Dropout(spec.dropout),
                nn.Linear(spec.inner_size, spec.outputs),
            ]
        else:
            layers = [
                nn.Conv1d(spec.input_size, spec.inner_size, kernel_size=7, padding=3),
                nn.ReLU(),
                nn.Dropout(spec.dropout),
                nn.Conv1d(spec.inner_size, spec.outputs, kernel_size=7, padding=3),
            ]
        self.layers = nn.Sequential(*layers)
        self.over_residues = spec.head is HeadKind.CONVOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Give [B, C] for [B, H], [B, L, C] for [B, L, H].

        A convolution pads with zeros: residues beyond a sequence's end must be zero.
        """
        return self.layers(x.mT).mT if self.over_residues else self.layers(x)


@torch.inference_mode()
def predict(head: Head, spec: TaskSpec, encoded: Encoded) -> list[NDArray[np.float32]]:
    """Predict from an encoder's output.

    Returns
    -------
    list of array
        For each sequence [C] (level ``sequence``) or [L, C] (level ``residue``): probabilities of
        the classes, or the number in the target's unit.
    """
    if spec.level is Level.SEQUENCE:
        raw = list(head(encoded.mean()))
    else:
        raw = [head(residues[None])[0] for residues in encoded.residues()]
    if spec.kind is Kind.CLASSIFICATION:
        return [outputs.softmax(-1).cpu().numpy() for outputs in raw]
    return [(outputs * spec.scale + spec.mean).cpu().numpy() for outputs in raw]


def save_task(folder: Path, spec: TaskSpec, head: Head) -> None:
    """Write ``task.json`` and ``head.safetensors``; other files of the folder stay."""
    folder.mkdir(parents=True, exist_ok=True)
    # The weights first: a folder with task.json is whole.
    (folder / "task.json").unlink(missing_ok=True)
    save_tensors(folder / ".head.partial", head.state_dict())
    (folder / ".head.partial").replace(folder / "head.safetensors")
    (folder / ".task.partial").write_text(json.dumps(asdict(spec), indent=2) + "\n")
    (folder / ".task.partial").replace(folder / "task.json")


def load_task(folder: Path) -> tuple[TaskSpec, Head]:
    """Read a task's folder.

    Raises
    ------
    CheckpointError
        If a file is missing, damaged, or the two do not belong together.
    """
    for name in ("task.json", "head.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not the folder of a task: {name} is missing")
    spec = _read_spec(folder / "task.json")
    state = load_tensors(folder / "head.safetensors")
    head = Head(spec).eval()
    try:
        head.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: head and task.json do not fit: {reason}") from None
    return spec, head


def _read_spec(path: Path) -> TaskSpec:
    try:
        raw = json.loads(path.read_text())
        enums = {"level": Level, "kind": Kind, "head": HeadKind}
        raw |= {key: kind(raw[key]) for key, kind in enums.items()}
        return TaskSpec(**{**raw, "classes": tuple(raw["classes"])})
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not describe a task: {error}") from None
