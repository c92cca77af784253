"""Fine-tune a task on a frozen encoder, beside a one-hot and a constant baseline."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import MISSING
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from bionemo_ext.errors import ConfigError, DataError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import HeadKind, Kind, Level, TaskSpec, save_task
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.head_training import IGNORED, Examples, HeadTraining, outputs, train_head
from bionemo_ext.resources import data_path
from bionemo_ext.sequences import ESM2
from bionemo_ext.tasks.labels import Example, LabelledSet, read_labelled
from bionemo_ext.tasks.metrics import classification_scores, regression_scores

Features = Callable[[Sequence[str]], list[Tensor]]
Scores = dict[str, float]


@dataclass(frozen=True)
class TaskSettings:
    """One file of ``conf/task``."""

    name: str = MISSING
    level: Level = MISSING
    kind: Kind = Kind.CLASSIFICATION
    data: str = MISSING
    split: str = "labels"
    head: HeadKind | None = None
    inner_size: int | None = None
    dropout: float = 0.25


@dataclass(frozen=True)
class FinetuneSettings:
    """The keys of ``conf/finetune.yaml``."""

    encoder: str = MISSING
    out: str = MISSING
    task: TaskSettings = field(default_factory=TaskSettings)
    training: HeadTraining = field(default_factory=HeadTraining)
    max_residues: int = ESM2.max_residues
    max_tokens: int = 4096
    seed: int = 42


def run(overrides: Sequence[str]) -> dict[str, Any]:
    """Fine-tune as ``conf/finetune.yaml`` and the overrides say.

    Writes ``task.json``, ``head.safetensors`` and ``result.json`` to the folder ``out``.

    Returns
    -------
    dict
        What ``result.json`` holds: test scores of the encoder's head, of the same head on one-hot
        residues, and of always giving the most frequent class or the mean.

    Raises
    ------
    ConfigError, DataError, CheckpointError
        If settings, labels or encoder cannot be used.
    """
    began = time.monotonic()
    settings = compose("finetune", overrides, FinetuneSettings)
    spec = _spec(settings.task)
    data = _truncated(
        read_labelled(
            data_path(settings.task.data),
            residues=spec.level is Level.RESIDUE,
            split=settings.task.split,
        ),
        spec.level,
        settings.max_residues,
    )
    encoder = Encoder.load(_model_folder(Path(settings.encoder)))
    targets, spec = _targets(data, spec)
    spec = replace(spec, input_size=encoder.hidden_size, encoder_digest=encoder.digest)

    def embed(sequences: Sequence[str]) -> list[Tensor]:
        return _embed(encoder, sequences, spec.level, settings.max_tokens)

    head, scores = _train(spec, data, targets, embed, settings)
    one_hot = replace(spec, input_size=len(ESM2.residues))
    _, baseline = _train(one_hot, data, targets, lambda s: _one_hot(s, spec.level), settings)
    constant = "majority" if spec.kind is Kind.CLASSIFICATION else "mean"
    result = {
        "task": spec.name,
        "level": spec.level.value,
        "metric": "accuracy" if spec.kind is Kind.CLASSIFICATION else "spearman",
        "test": scores,
        "one_hot": baseline,
        constant: _constant_scores(spec, targets),
        "classes": list(spec.classes),
        "counts": data.counts,
        "seconds": round(time.monotonic() - began, 1),
    }
    out = Path(settings.out)
    save_task(out, spec, head)
    (out / ".result.partial").write_text(json.dumps(result, indent=2) + "\n")
    (out / ".result.partial").replace(out / "result.json")
    return result


def _spec(task: TaskSettings) -> TaskSpec:
    residues = task.level is Level.RESIDUE
    if residues and task.kind is Kind.REGRESSION:
        raise ConfigError(f"task {task.name}: regression needs level: sequence")
    head = task.head or (HeadKind.CONVOLUTION if residues else HeadKind.MLP)
    if head is (HeadKind.MLP if residues else HeadKind.CONVOLUTION):
        raise ConfigError(
            f"task {task.name}: head {head.value} is not for level {task.level.value}"
        )
    inner = task.inner_size or (32 if residues else 256)
    return TaskSpec(task.name, task.level, task.kind, (), head, 0, inner, task.dropout)


def _model_folder(path: Path) -> Path:
    """A Hugging Face folder, or the one inside a pretraining run's folder."""
    return path / "huggingface" if (path / "huggingface").is_dir() else path


def _truncated(data: LabelledSet, level: Level, limit: int) -> LabelledSet:
    def cut(example: Example) -> Example:
        target = example.target[:limit] if level is Level.RESIDUE else example.target
        return replace(
            example,
            sequence=example.sequence[:limit],
            target=target,
            mask=example.mask[:limit],
        )

    return LabelledSet(**{name: [cut(e) for e in part] for name, part in vars(data).items()})


def _targets(data: LabelledSet, spec: TaskSpec) -> tuple[dict[str, list[Tensor]], TaskSpec]:
    """Targets as tensors, and the spec with the classes or the scale of the training part."""
    parts = vars(data)
    if spec.kind is Kind.REGRESSION:
        numbers = {name: [_number(e) for e in part] for name, part in parts.items()}
        mean, scale = float(np.mean(numbers["train"])), float(np.std(numbers["train"]))
        if scale == 0:
            raise DataError(f"task {spec.name}: all training targets are {mean}")
        scaled = {
            name: [torch.tensor((x - mean) / scale, dtype=torch.float32) for x in part]
            for name, part in numbers.items()
        }
        return scaled, replace(spec, mean=mean, scale=scale)
    residues = spec.level is Level.RESIDUE
    classes = sorted({c for e in data.train for c in (_counted(e) if residues else [e.target])})
    if len(classes) < 2:
        raise DataError(f"task {spec.name}: the training examples are all of class {classes}")
    index = {name: i for i, name in enumerate(classes)}
    classify = _residue_classes if residues else _sequence_class
    numbers = {name: [classify(e, index) for e in part] for name, part in parts.items()}
    return numbers, replace(spec, classes=tuple(classes))


def _counted(example: Example) -> list[str]:
    mask = example.mask or "1" * len(example.target)
    return [c for c, counts in zip(example.target, mask, strict=True) if counts == "1"]


def _number(example: Example) -> float:
    try:
        number = float(example.target)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise DataError(f"{example.where} has the target {example.target!r}, a number is needed")
    return number


def _class_number(name: str, index: dict[str, int], where: str) -> int:
    if name not in index:
        raise DataError(f"{where} has class {name!r}, which no training example has")
    return index[name]


def _sequence_class(example: Example, index: dict[str, int]) -> Tensor:
    return torch.tensor(_class_number(example.target, index, example.where))


def _residue_classes(example: Example, index: dict[str, int]) -> Tensor:
    mask = example.mask or "1" * len(example.target)
    return torch.tensor(
        [
            _class_number(c, index, example.where) if counts == "1" else IGNORED
            for c, counts in zip(example.target, mask, strict=True)
        ]
    )


def _embed(
    encoder: Encoder, sequences: Sequence[str], level: Level, max_tokens: int
) -> list[Tensor]:
    found: dict[int, Tensor] = {}
    with Progress(transient=True, disable=not _on_terminal()) as progress:
        bar = progress.add_task("embedding", total=sum(map(len, sequences)))
        for indices, encoded in encoder.embed(sequences, max_tokens):
            rows = encoded.residues() if level is Level.RESIDUE else list(encoded.mean())
            # Out of inference mode: heads are trained on these.
            found |= {i: row.clone() for i, row in zip(indices, rows, strict=True)}
            progress.advance(bar, sum(len(sequences[i]) for i in indices))
    return [found[i] for i in range(len(sequences))]


def _on_terminal() -> bool:
    return Console().is_terminal


def _one_hot(sequences: Sequence[str], level: Level) -> list[Tensor]:
    """One column a letter; for a whole sequence the composition."""
    columns = {letter: i for i, letter in enumerate(ESM2.residues)}
    rows = [
        torch.nn.functional.one_hot(
            torch.tensor([columns[letter] for letter in sequence]), len(columns)
        ).float()
        for sequence in sequences
    ]
    return rows if level is Level.RESIDUE else [row.mean(0) for row in rows]


def _train(
    spec: TaskSpec,
    data: LabelledSet,
    targets: dict[str, list[Tensor]],
    features: Features,
    settings: FinetuneSettings,
) -> tuple[torch.nn.Module, Scores]:
    parts = {
        name: Examples(features([e.sequence for e in part]), targets[name])
        for name, part in vars(data).items()
    }
    with Progress(transient=True, disable=not _on_terminal()) as progress:
        bar = progress.add_task("training the head", total=settings.training.epochs)

        def on_epoch(epoch: int, loss: float) -> None:
            text = f"training the head, validation loss {loss:.3f}"
            progress.update(bar, completed=epoch + 1, description=text)

        head = train_head(
            spec,
            parts["train"],
            parts["validation"],
            settings.training,
            settings.seed,
            on_epoch,
        )
    truth = _flat(spec, targets["test"])
    return head, _scores(spec, truth, outputs(spec, head, parts["test"]))


def _flat(spec: TaskSpec, targets: list[Tensor]) -> NDArray[Any]:
    """All labels that count, in the target's unit."""
    flat = torch.cat([t.reshape(-1) for t in targets]).numpy()
    if spec.kind is Kind.REGRESSION:
        return flat * spec.scale + spec.mean
    return flat[flat != IGNORED]


def _scores(spec: TaskSpec, truth: NDArray[Any], predicted: NDArray[Any]) -> Scores:
    score = classification_scores if spec.kind is Kind.CLASSIFICATION else regression_scores
    return score(truth, predicted)


def _constant_scores(spec: TaskSpec, targets: dict[str, list[Tensor]]) -> Scores:
    train, truth = (_flat(spec, targets[part]) for part in ("train", "test"))
    guess = np.bincount(train).argmax() if spec.kind is Kind.CLASSIFICATION else train.mean()
    return _scores(spec, truth, np.full_like(truth, guess))
