"""A task: a small head on frozen embeddings, and the folder it is kept in.

The heads are the published ones (FLIP, Dallago et al., 2021; NVIDIA's ESM benchmark): for
residues a two-layer convolution, for sequences mean pooling and an MLP.
Shapes: B sequences, L residues of the longest, H hidden, C outputs (classes, labels, or 1 for
regression).
"""

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import load_tensors, save_tensors
from bionemo_ext.inference.packing import Encoded
from bionemo_ext.whole import whole


class HeadKind(str, Enum):
    """The small network between embedding and prediction."""

    LINEAR = "linear"
    MLP = "mlp"
    CONVOLUTION = "convolution"


class Pooling(str, Enum):
    """What the head of a sequence-level task sees of the residues."""

    MEAN = "mean"
    CLS = "cls"
    MAX = "max"
    ATTENTION = "attention"


@dataclass(frozen=True)
class TaskSpec:
    """All that is needed to use a trained head.

    Parameters
    ----------
    name : str
        Of the task, and so of its endpoint.
    level, kind : Level, Kind
        One prediction a sequence or a residue; a class, labels or a number.
    classes : tuple of str
        Names of classes or labels in the order of the outputs; empty for regression.
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
        SHA-256 of the ``model.safetensors`` whose embeddings the head was trained on; of the base
        model where an adapter goes with the head.
    pooling : Pooling
        How a sequence-level head sees the residues. ``attention`` is learned with the head.
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
    pooling: Pooling = Pooling.MEAN

    @property
    def info(self) -> TaskInfo:
        """What a client must know."""
        return TaskInfo(self.name, self.level, self.kind, self.classes)

    @property
    def outputs(self) -> int:
        """Numbers a prediction has, C."""
        return 1 if self.kind is Kind.REGRESSION else len(self.classes)

    @property
    def residues(self) -> bool:
        """Whether there is a prediction for every residue."""
        return self.level is Level.RESIDUE

    @property
    def sees_residues(self) -> bool:
        """Whether the head takes residues, or a vector a sequence."""
        return self.residues or self.pooling is Pooling.ATTENTION


class Head(nn.Module):
    """The network of a :class:`TaskSpec`.

    It takes pooled sequences [B, H], or residues [B, L, H] that are zero beyond a sequence's end,
    and gives raw outputs [B, C] or, at the level of residues, [B, L, C].
    """

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
        pooled = spec.level is Level.SEQUENCE and spec.pooling is Pooling.ATTENTION
        self.attention = nn.Linear(spec.input_size, 1) if pooled else None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict.

        Parameters
        ----------
        x : Tensor
            [B, H] or [B, L, H].
        lengths : Tensor, optional
            Residues of each sequence, [B]; all L where it is not given.
        """
        if self.attention is not None:
            return self.layers(_attention_pool(x, self.attention(x)[..., 0], lengths))
        if not self.over_residues:
            return self.layers(x)
        first, *between, last = self.layers
        inner = first(x.mT)
        for layer in between:
            inner = layer(inner)
        if lengths is not None:
            # The bias has filled the padding; a sequence must not see how long its batch is.
            inner = inner * _inside(lengths, x.shape[1])[:, None]
        return last(inner).mT


def _attention_pool(x: Tensor, scores: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean of residues [B, L, H] weighted by the softmax of scores [B, L]."""
    if lengths is not None:
        scores = scores.masked_fill(~_inside(lengths, x.shape[1]), -torch.inf)
    return (scores.softmax(-1)[:, None] @ x)[:, 0]


def _inside(lengths: Tensor, width: int) -> Tensor:
    """Which places [B, L] are residues."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def head_input(spec: TaskSpec, encoded: Encoded) -> list[Tensor]:
    """What the head sees of each sequence: [H], or residues [L, H]; fp32."""
    if spec.sees_residues:
        return encoded.residues()
    return list(getattr(encoded, spec.pooling.value)())


@torch.inference_mode()
def predict(head: Head, spec: TaskSpec, encoded: Encoded) -> list[NDArray[np.float32]]:
    """Predict from an encoder's output.

    Returns
    -------
    list of array
        For each sequence [C] (level ``sequence``) or [L, C] (level ``residue``): probabilities of
        the classes (sum 1) or of the labels (each for itself), or the number in the target's unit.
    """
    seen = head_input(spec, encoded)
    if spec.sees_residues:
        raw = [head(residues[None])[0] for residues in seen]
    else:
        raw = list(head(torch.stack(seen)))
    return [in_unit(spec, outputs).cpu().numpy() for outputs in raw]


def in_unit(spec: TaskSpec, raw: Tensor) -> Tensor:
    """Turn raw outputs [..., C] into probabilities, or into the target's unit."""
    if spec.kind is Kind.CLASSIFICATION:
        return raw.softmax(-1)
    return raw.sigmoid() if spec.kind is Kind.MULTILABEL else raw * spec.scale + spec.mean


def save_task(folder: Path, spec: TaskSpec, head: Head) -> None:
    """Write ``task.json`` and ``head.safetensors``; other files of the folder stay."""
    folder.mkdir(parents=True, exist_ok=True)
    # The weights first: a folder with task.json is whole.
    (folder / "task.json").unlink(missing_ok=True)
    with whole(folder / "head.safetensors") as new:
        save_tensors(new, head.state_dict())
    with whole(folder / "task.json") as new:
        new.write_text(json.dumps(asdict(spec), indent=2) + "\n")


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
        raw.setdefault("pooling", Pooling.MEAN.value)
        enums = {"level": Level, "kind": Kind, "head": HeadKind, "pooling": Pooling}
        raw |= {key: kind(raw[key]) for key, kind in enums.items()}
        return TaskSpec(**{**raw, "classes": tuple(raw["classes"])})
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not describe a task: {error}") from None
