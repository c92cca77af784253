"""What a pretraining run may be told: the keys of ``conf/pretrain.yaml`` and their types."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from omegaconf import MISSING

from bionemo_ext.data.store import Crop
from bionemo_ext.recipes.config_schema import limited

if TYPE_CHECKING:
    from bionemo_ext.huggingface import Architecture


class Arithmetic(str, Enum):
    """Number format of weights and activations."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Fp8(str, Enum):
    """How TransformerEngine chooses the scales of FP8 matrix products on Hopper."""

    OFF = "off"
    DELAYED = "delayed"
    CURRENT = "current"
    BLOCKWISE = "blockwise"


class Recompute(str, Enum):
    """Which activations are computed again in the backward pass instead of being kept."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


class Schedule(str, Enum):
    """Shape of the learning rate's way from the peak to the floor."""

    LINEAR = "linear"
    COSINE = "cosine"


class Family(str, Enum):
    """Kind of model."""

    ESM2 = "esm2"
    ESM1NV = "esm1nv"


class Implementation(str, Enum):
    """Whose layers a model is made of; ``auto`` is TransformerEngine's where they can run."""

    AUTO = "auto"
    LOCAL = "local"
    TRANSFORMER_ENGINE = "transformer_engine"


@dataclass(frozen=True)
class ModelSettings:
    """One file of ``conf/model``."""

    name: str = MISSING
    family: Family = Family.ESM2
    layers: int = limited(1)
    hidden: int = limited(1)
    heads: int = limited(1)
    ffn: int = limited(0, default=0)
    max_positions: int = limited(3, default=1024)
    dropout: float = limited(0, 1, default=0.0)
    implementation: Implementation = Implementation.AUTO

    def architecture(self) -> "Architecture":
        """The model's architecture.

        Raises
        ------
        ConfigError
            If there can be no such model.
        """
        # It imports torch, which composing a run does without.
        from bionemo_ext.huggingface import model_config

        names = ("layers", "hidden", "heads", "ffn", "max_positions", "dropout")
        return model_config(self.family.value, {name: getattr(self, name) for name in names})


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
    distributed_optimizer: bool = True


@dataclass(frozen=True)
class PrecisionSettings:
    """One file of ``conf/precision``; master weights and Adam's moments are fp32 in all of them."""

    arithmetic: Arithmetic = Arithmetic.FP32
    fp8: Fp8 = Fp8.OFF
    bf16_first_layers: int = limited(0, default=0)
    bf16_last_layers: int = limited(0, default=0)


@dataclass(frozen=True)
class LoggingSettings:
    """Where figures go besides ``metrics.jsonl`` and the screen."""

    tensorboard: bool = False
    wandb_project: str | None = None


@dataclass(frozen=True)
class OptimizerSettings:
    """Adam with warm-up and a linear (ESM-2) or cosine (ESM-1nv) decay."""

    schedule: Schedule = Schedule.LINEAR

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
    precision: PrecisionSettings = field(default_factory=PrecisionSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    init: str | None = None
    packing: bool = True
    recompute: Recompute = Recompute.NONE
    async_checkpoints: bool = True
    out: str = MISSING
    steps: int = limited(1)
    micro_batch: int = limited(1)
    global_batch: int = limited(1)
    seed: int = limited(0, default=42)
    validate_every: int = limited(1)
    checkpoint_every: int = limited(1)
    keep_checkpoints: int = limited(1, default=2)
    keep_best: int = limited(0, default=1)
    log_every: int = limited(1, default=10)
