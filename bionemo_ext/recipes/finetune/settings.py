"""What fine-tuning may be told: the keys of ``conf/finetune.yaml`` and of a task's file."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from bionemo_ext.contract import Kind, Level
from bionemo_ext.inference.task import HeadKind, Pooling
from bionemo_ext.recipes.config_schema import limited
from bionemo_ext.recipes.settings import Arithmetic, ParallelSettings, PrecisionSettings, Recompute
from bionemo_ext.sequences import ESM2
from bionemo_ext.tasks.tables import Columns


class Mode(str, Enum):
    """What of the model is trained beside the head."""

    FROZEN = "frozen"
    LORA = "lora"
    FULL = "full"


class ClassWeights(str, Enum):
    """How much the classes count in the loss; ``balanced`` makes all classes count alike."""

    NONE = "none"
    BALANCED = "balanced"


class CacheDtype(str, Enum):
    """Number format of embeddings on disk."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class HeadSettings:
    """The small network between embedding and prediction; where a key is not given, FLIP's."""

    kind: HeadKind | None = None
    inner_size: int | None = limited(1, default=None)
    dropout: float = limited(0, 1, default=0.25)
    pooling: Pooling = Pooling.MEAN


@dataclass(frozen=True)
class TaskSettings:
    """One file of ``conf/task``, or a user's own: ``finetune task=my.yaml``."""

    name: str = MISSING
    level: Level = MISSING
    kind: Kind = Kind.CLASSIFICATION
    data: str = MISSING
    split: str | None = None
    release: str | None = None
    columns: Columns = field(default_factory=Columns)
    validation_fraction: float = limited(0, 1, default=0.1)
    test_fraction: float = limited(0, 1, default=0.1)
    classes: list[str] | None = None
    letters: dict[str, list[str]] | None = None
    class_weights: ClassWeights = ClassWeights.NONE
    head: HeadSettings = field(default_factory=HeadSettings)


@dataclass(frozen=True)
class HeadTraining:
    """Adam, and early stopping on the validation loss.

    ``micro_batch`` proteins go through a trained encoder at a time, ``batch`` make a step. ``lr``
    is, where not given, 1e-3, and 1e-4 where all weights train.
    """

    epochs: int = limited(1, default=50)
    patience: int = limited(1, default=5)
    batch: int = limited(1, default=32)
    micro_batch: int | None = limited(1, default=None)
    lr: float | None = limited(1e-12, default=None)
    weight_decay: float = limited(0, default=0.0)
    clip: float = limited(0, default=1.0)


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters, and the linear maps of a layer that have one, by Megatron's names."""

    rank: int = limited(1, default=8)
    alpha: float = limited(0, default=16.0)
    dropout: float = limited(0, 1, default=0.0)
    targets: list[str] = field(
        default_factory=lambda: ["linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"]
    )


@dataclass(frozen=True)
class CacheSettings:
    """Where a frozen encoder's embeddings are kept; None is the user's cache folder."""

    folder: str | None = None
    dtype: CacheDtype = CacheDtype.FLOAT32


@dataclass(frozen=True)
class FinetuneSettings:
    """A whole run."""

    encoder: str = MISSING
    out: str = MISSING
    task: TaskSettings = field(default_factory=TaskSettings)
    flip: str = "data/flip"
    mode: Mode = Mode.FROZEN
    training: HeadTraining = field(default_factory=HeadTraining)
    lora: LoraSettings = field(default_factory=LoraSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    precision: PrecisionSettings = field(default_factory=PrecisionSettings)
    recompute: Recompute = Recompute.NONE
    max_residues: int = limited(1, default=ESM2.max_residues)
    max_tokens: int = limited(1, default=4096)
    baselines: bool = True
    seed: int = limited(0, default=42)

    @property
    def lr(self) -> float:
        """Learning rate, the mode's own where none is given."""
        return self.training.lr or (1e-4 if self.mode is Mode.FULL else 1e-3)

    @property
    def arithmetic(self) -> str:
        """What a frozen encoder computes in, as :class:`Encoder` names it."""
        return "bfloat16" if self.precision.arithmetic is Arithmetic.BF16 else "float32"
