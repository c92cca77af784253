"""From settings to a task that can be learned: labels read, checked and made numbers."""

from dataclasses import dataclass, replace
from pathlib import Path

from bionemo_ext.contract import Level, TaskInfo
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import read_config, weights_digest
from bionemo_ext.inference.task import HeadKind, TaskSpec
from bionemo_ext.recipes.finetune.head_training import Examples
from bionemo_ext.recipes.finetune.settings import TaskSettings
from bionemo_ext.tasks.examples import LabelledSet
from bionemo_ext.tasks.loading import load
from bionemo_ext.tasks.targets import Targets, numeric_targets

PARTS = ("train", "validation", "test")
# Inner layer of the published heads: channels of the convolution, width of the MLP.
_CHANNELS, _WIDTH = 32, 256


@dataclass(frozen=True)
class Prepared:
    """A task with its labels.

    Parameters
    ----------
    spec : TaskSpec
        The head, without what the encoder decides (``input_size``, ``encoder_digest``).
    data : LabelledSet
        The examples, cut to the encoder's limit.
    targets : Targets
        Their targets as numbers, cut likewise.
    """

    spec: TaskSpec
    data: LabelledSet
    targets: Targets

    def part(self, name: str) -> Examples:
        """Sequences and targets of one of :data:`PARTS`."""
        return Examples([e.sequence for e in getattr(self.data, name)], getattr(self.targets, name))

    @property
    def sequences(self) -> list[str]:
        """Sequences of all parts."""
        return [example.sequence for part in PARTS for example in getattr(self.data, part)]


def prepare(
    task: TaskSettings, flip: Path, max_residues: int, seed: int, bar: Bar = silent
) -> Prepared:
    """Read a task's labels.

    Parameters
    ----------
    task : TaskSettings
        What is predicted from which file.
    flip : Path
        Root of FLIP's data.
    max_residues : int
        Longer sequences are cut at their end, and their residues' labels with them.
    seed : int
        Of a split that the file leaves to us.
    bar : Bar
        Is told of labels as they are read.

    Raises
    ------
    ConfigError
        If the head is not for the task's level, or the name cannot be an endpoint's.
    DataError
        Names the file, the line or record, and what is wrong with it.
    """
    spec = _spec(task)
    data = load(
        task.data,
        flip,
        level=task.level,
        kind=task.kind,
        split=task.split,
        release=task.release,
        columns=task.columns,
        validation_fraction=task.validation_fraction,
        test_fraction=task.test_fraction,
        seed=seed,
        bar=bar,
    )
    targets = numeric_targets(
        data, task.level, task.kind, classes=task.classes, letters=task.letters
    )
    spec = replace(spec, classes=targets.classes, mean=targets.mean, scale=targets.scale)
    return Prepared(spec, _cut_data(data, max_residues), _cut_targets(targets, max_residues))


def for_encoder(spec: TaskSpec, folder: Path) -> TaskSpec:
    """The spec of a head on the encoder in a Hugging Face folder."""
    return replace(
        spec, input_size=read_config(folder).hidden, encoder_digest=weights_digest(folder)
    )


def model_folder(path: Path) -> Path:
    """A Hugging Face folder, or the one inside a pretraining run's folder."""
    return path / "huggingface" if (path / "huggingface").is_dir() else path


def _spec(task: TaskSettings) -> TaskSpec:
    residues = task.level is Level.RESIDUE
    head = task.head.kind or (HeadKind.CONVOLUTION if residues else HeadKind.MLP)
    if head is HeadKind.CONVOLUTION and not residues:
        raise ConfigError(
            f"task {task.name}: a convolution is a head for level: residue; level: sequence has "
            "linear and mlp"
        )
    inner = task.head.inner_size or (_CHANNELS if head is HeadKind.CONVOLUTION else _WIDTH)
    TaskInfo(task.name, task.level, task.kind)  # refuses a name that cannot be an endpoint's
    return TaskSpec(
        task.name,
        task.level,
        task.kind,
        (),
        head,
        0,
        inner,
        task.head.dropout,
        pooling=task.head.pooling,
    )


def _cut_data(data: LabelledSet, limit: int) -> LabelledSet:
    parts = {
        part: [replace(e, sequence=e.sequence[:limit]) for e in getattr(data, part)]
        for part in PARTS
    }
    return replace(data, **parts)


def _cut_targets(targets: Targets, limit: int) -> Targets:
    if targets.level is Level.SEQUENCE:
        return targets
    return replace(targets, **{part: [t[:limit] for t in getattr(targets, part)] for part in PARTS})
