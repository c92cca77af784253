"""What a pretraining run may be told: the keys of ``conf/pretrain.yaml`` and their types."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from bionemo_ext.data.store import Crop
from bionemo_ext.recipes.config_schema import limited


class Precision(str, Enum):
    """Arithmetic of a run."""

    FP32 = "fp32"
    BF16 = "bf16"


class Implementation(str, Enum):
    """Whose layers a model is made of."""

    LOCAL = "local"
    TRANSFORMER_ENGINE = "transformer_engine"


@dataclass(frozen=True)
class ModelSettings:
    """One file of ``conf/model``."""

    name: str = MISSING
    layers: int = limited(1)
    hidden: int = limited(1)
    heads: int = limited(1)
    ffn: int = limited(0, default=0)
    max_positions: int = limited(3, default=1024)
    implementation: Implementation = Implementation.LOCAL


@dataclass(frozen=True)
class DataSettings:
    """One file of ``conf/data``."""

    train: str = MISSING
    validation: str | None = None
    validation_fraction: float = limited(0, 1, default=0.05)
    max_residues: int = limited(1, default=1022)
    crop: Crop = Crop.START
    workers: int = limited(0, default=0)


@dataclass(frozen=True)
class ParallelSettings:
    """One file of ``conf/parallel``. Data parallel is what ``devices * nodes`` leaves."""

    devices: int = limited(1, default=1)
    nodes: int = limited(1, default=1)
    tensor: int = limited(1, default=1)
    pipeline: int = limited(1, default=1)
    sequence: bool = False


@dataclass(frozen=True)
class OptimizerSettings:
    """Adam with warm-up and linear decay, as ESM-2 was trained."""

    lr: float = limited(1e-12, default=4e-4)
    min_lr: float = limited(0, default=4e-5)
    warmup_steps: int = limited(0, default=2000)
    decay_steps: int = limited(1, default=450_000)
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = limited(0, default=1e-8)
    weight_decay: float = limited(0, default=0.01)
    clip: float = limited(0, default=1.0)


@dataclass(frozen=True)
class PretrainSettings:
    """A whole run."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    precision: Precision = Precision.FP32
    out: str = MISSING
    steps: int = limited(1)
    micro_batch: int = limited(1)
    global_batch: int = limited(1)
    seed: int = limited(0, default=42)
    validate_every: int = limited(1)
    checkpoint_every: int = limited(1)
    keep_checkpoints: int = limited(1, default=2)
    log_every: int = limited(1, default=10)
