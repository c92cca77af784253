"""What a pretraining run may be told: the keys of ``conf/pretrain.yaml`` and their types."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from bionemo_ext.data.store import Crop


class Precision(str, Enum):
    """Arithmetic of a run."""

    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True)
class ModelSettings:
    """One file of ``conf/model``."""

    name: str = MISSING
    layers: int = MISSING
    hidden: int = MISSING
    heads: int = MISSING
    ffn: int = 0
    max_positions: int = 1024
    implementation: str = "local"


@dataclass(frozen=True)
class DataSettings:
    """One file of ``conf/data``."""

    train: str = MISSING
    validation: str | None = None
    validation_fraction: float = 0.05
    max_residues: int = 1022
    crop: Crop = Crop.START
    workers: int = 0


@dataclass(frozen=True)
class ParallelSettings:
    """One file of ``conf/parallel``. Data parallel is what ``devices * nodes`` leaves."""

    devices: int = 1
    nodes: int = 1
    tensor: int = 1
    pipeline: int = 1
    sequence: bool = False


@dataclass(frozen=True)
class OptimizerSettings:
    """Adam with warm-up and linear decay, as ESM-2 was trained."""

    lr: float = 4e-4
    min_lr: float = 4e-5
    warmup_steps: int = 2000
    decay_steps: int = 450_000
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = 1e-8
    weight_decay: float = 0.01
    clip: float = 1.0


@dataclass(frozen=True)
class PretrainSettings:
    """A whole run."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    precision: Precision = Precision.FP32
    out: str = MISSING
    steps: int = MISSING
    micro_batch: int = MISSING
    global_batch: int = MISSING
    seed: int = 42
    validate_every: int = MISSING
    checkpoint_every: int = MISSING
    keep_checkpoints: int = 2
    log_every: int = 10
