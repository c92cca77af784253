"""What fine-tuning is refused for before anything is started or written."""

from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import Architecture
from bionemo_ext.recipes.finetune.settings import FinetuneSettings, Mode
from bionemo_ext.recipes.settings import Arithmetic, Fp8

_TARGETS = ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2")


def check(settings: FinetuneSettings, architecture: Architecture) -> None:
    """Refuse settings that do not go together, or not with the encoder.

    Raises
    ------
    ConfigError
        Names the keys.
    """
    _check_ranks(settings, architecture)
    arithmetic, fp8 = settings.precision.arithmetic, settings.precision.fp8
    if settings.mode is Mode.FROZEN and (arithmetic is Arithmetic.FP16 or fp8 is not Fp8.OFF):
        raise ConfigError("mode=frozen embeds in fp32 or bf16: precision=fp32 or precision=bf16")
    if settings.mode is Mode.LORA:
        _check_adapters(settings)


def _check_adapters(settings: FinetuneSettings) -> None:
    lora, tensor = settings.lora, settings.parallel.tensor
    if not lora.targets or not set(lora.targets) <= set(_TARGETS):
        raise ConfigError(
            f"lora.targets is {lora.targets}, but some of {', '.join(_TARGETS)} are needed"
        )
    if lora.rank % tensor:
        raise ConfigError(
            f"parallel.tensor {tensor} does not divide lora.rank {lora.rank}, which the ranks share"
        )


def _check_ranks(settings: FinetuneSettings, architecture: Architecture) -> None:
    parallel, training = settings.parallel, settings.training
    if parallel.pipeline > 1:
        raise ConfigError(
            f"parallel.pipeline is {parallel.pipeline}, but fine-tuning has no pipeline stages; "
            "parallel.tensor spreads an encoder over devices"
        )
    if parallel.sequence and parallel.tensor == 1:
        raise ConfigError("parallel.sequence=true needs parallel.tensor of 2 or more")
    world = parallel.devices * parallel.nodes
    if world % parallel.tensor:
        raise ConfigError(
            f"parallel.tensor {parallel.tensor} does not divide the number of devices, {world}"
        )
    if architecture.heads % parallel.tensor:
        raise ConfigError(
            f"parallel.tensor {parallel.tensor} does not divide the encoder's "
            f"{architecture.heads} attention heads"
        )
    if settings.mode is Mode.FROZEN and world != parallel.tensor:
        raise ConfigError(
            f"mode=frozen embeds on parallel.tensor devices alone, {parallel.tensor}, not {world}"
        )
    # Where micro_batch is not given, each data parallel rank takes its share of a batch at once.
    per_pass = (training.micro_batch or 1) * (world // parallel.tensor)
    if settings.mode is not Mode.FROZEN and training.batch % per_pass:
        raise ConfigError(
            f"training.batch {training.batch} is not a multiple of training.micro_batch x data "
            f"parallel size, {per_pass}"
        )
