"""What a pretraining run will need, from its configuration alone: memory, arithmetic, days."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from bionemo_ext.errors import ConfigError
from bionemo_ext.models import memory
from bionemo_ext.models.costs import device_memory, parameters, peak_flops, training_flops
from bionemo_ext.recipes import preflight
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.footprint import (
    Lengths,
    accumulation,
    fullest_stage,
    layout_of,
    lengths,
    micro_batch_of,
    world_size,
)
from bionemo_ext.recipes.settings import (
    Arithmetic,
    ParallelSettings,
    PretrainSettings,
    Recompute,
)
from bionemo_ext.resources import resource

# BioNeMo 2's benchmark of ESM-2 650M on an H100 in bf16: 95,871 tokens/s in sequences of 1,024, of
# 4.42 GFLOP each as training_flops counts (it tells 38% itself, without attention and head). The
# same way 3B's 26,801 is 49% and 15B's 4,159 is 39%.
PUBLISHED_MFU = 0.43
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Plan:
    """What ``bionemo-ext plan`` prints; bytes, tokens, operations and days."""

    model: str
    parameters: int
    parameters_per_gpu: int
    gpu: str
    gpus: int
    data_parallel: int
    accumulation: int
    micro_batch_tokens: int
    memory: memory.Memory
    capacity: float
    steps: int
    sequences_per_step: int
    mean_tokens: float
    tokens_per_step: float
    largest_tokens_per_step: int
    flops_per_step: float
    mfu: float
    days: float | None
    suggestion: list[str] | None

    @property
    def fits(self) -> bool:
        """Whether one GPU holds it."""
        return self.memory.total <= self.capacity

    def as_json(self) -> dict[str, Any]:
        """Everything, the sums too."""
        plain = asdict(self)
        plain["memory"]["total"] = self.memory.total
        return {**plain, "fits": self.fits}


def composed(words: Sequence[str], gpus: int | None = None) -> PretrainSettings:
    """Compose a run as ``pretrain`` does, without what only a started run must be given.

    Parameters
    ----------
    words : sequence of str
        ``key=value``. Without ``recipe=`` the one that is called as the model is taken.
    gpus : int, optional
        GPUs to spread the run over, instead of ``parallel.devices`` x ``parallel.nodes``.

    Raises
    ------
    ConfigError
        As :func:`bionemo_ext.recipes.config.compose`, and if the layout does not go together.
    """
    given = dict(word.partition("=")[::2] for word in words)
    first = ["out=plan", "data.train=plan"]
    model = given.get("model", "")
    if "recipe" not in given and (resource("conf") / "recipe" / f"{model}.yaml").is_file():
        first.append(f"recipe={model}")
    settings = compose("pretrain", [*first, *words], PretrainSettings)
    if gpus is not None:
        settings = replace(settings, parallel=_spread(settings.parallel, gpus))
    preflight.check_ranks(settings, launched=True)
    return settings


def _spread(parallel: ParallelSettings, gpus: int) -> ParallelSettings:
    if gpus < parallel.devices:
        return replace(parallel, devices=gpus, nodes=1)
    if gpus % parallel.devices:
        raise ConfigError(
            f"--gpus is {gpus}, but a multiple of parallel.devices, {parallel.devices}, is needed"
        )
    return replace(parallel, nodes=gpus // parallel.devices)


def plan(
    settings: PretrainSettings,
    *,
    gpu: str = "h100",
    mfu: float = PUBLISHED_MFU,
    mean_tokens: float | None = None,
) -> Plan:
    """Work out what a run needs.

    Parameters
    ----------
    settings : PretrainSettings
        The run.
    gpu : str
        Name of the GPU.
    mfu : float
        Share of the GPU's dense peak in 16 bits that is expected to be reached by the products
        that are computed, those of padding and recomputation too. FP8 is measured by the same peak.
    mean_tokens : float, optional
        Mean length of a sequence in tokens.

    Raises
    ------
    ConfigError
        If the GPU is not known.
    """
    capacity, peak = device_memory(gpu), peak_flops(gpu)
    if capacity is None or peak is None:
        raise ConfigError(f"the GPU {gpu!r} is not known; h100, h200, a100 and v100 are")
    config = settings.model.architecture()
    expected = lengths(settings, mean_tokens)
    layout = layout_of(settings)
    batch = settings.global_batch
    flops = training_flops(config, batch * expected.mean, batch * expected.mean_square)
    needed, parameters_per_gpu = fullest_stage(settings, expected)
    days = None
    if settings.precision.arithmetic is not Arithmetic.FP32:
        tokens, squares = expected.mean, expected.mean_square
        if not settings.packing:
            tokens, squares = expected.largest, expected.largest**2
        computed = training_flops(
            config, batch * tokens, batch * squares, recompute=settings.recompute.value
        )
        gpus = world_size(settings.parallel)
        days = settings.steps * computed / (gpus * peak * mfu) / _SECONDS_A_DAY
    return Plan(
        model=settings.model.name,
        parameters=parameters(config),
        parameters_per_gpu=parameters_per_gpu,
        gpu=gpu,
        gpus=world_size(settings.parallel),
        data_parallel=layout.data,
        accumulation=accumulation(settings),
        micro_batch_tokens=micro_batch_of(settings, expected).tokens,
        memory=needed,
        capacity=capacity,
        steps=settings.steps,
        sequences_per_step=batch,
        mean_tokens=expected.mean,
        tokens_per_step=batch * expected.mean,
        largest_tokens_per_step=batch * expected.largest,
        flops_per_step=flops,
        mfu=mfu,
        days=days,
        suggestion=None if needed.total <= capacity else suggestion(settings, expected, capacity),
    )


def suggestion(settings: PretrainSettings, expected: Lengths, capacity: float) -> list[str] | None:
    """Words that make a run fit, with the least change; None if nothing that is tried does.

    Tried are smaller micro-batches, then also full recomputation, then also wider tensor parallel
    groups, then also pipeline stages.
    """
    for changed in _changes(settings):
        try:
            preflight.check_ranks(changed, launched=True)
        except ConfigError:
            continue
        if fullest_stage(changed, expected)[0].total <= capacity:
            return _words(settings, changed)
    return None


def _changes(settings: PretrainSettings) -> Iterator[PretrainSettings]:
    parallel = settings.parallel
    pipelines = [parallel.pipeline * n for n in (1, 2, 4)]
    tensors = [t for n in range(4) if (t := parallel.tensor * 2**n) <= parallel.devices]
    recomputes = list(dict.fromkeys((settings.recompute, Recompute.FULL)))
    halves = range(settings.micro_batch.bit_length())
    micro_batches = [settings.micro_batch >> n for n in halves]
    for pipeline, tensor, recompute, micro_batch in product(
        pipelines, tensors, recomputes, micro_batches
    ):
        layout = replace(
            parallel, pipeline=pipeline, tensor=tensor, sequence=parallel.sequence or tensor > 1
        )
        yield replace(settings, parallel=layout, recompute=recompute, micro_batch=micro_batch)


def _words(before: PretrainSettings, after: PretrainSettings) -> list[str]:
    words = []
    for key in ("pipeline", "tensor", "sequence"):
        if (value := getattr(after.parallel, key)) != getattr(before.parallel, key):
            words.append(f"parallel.{key}={str(value).lower()}")
    if after.recompute is not before.recompute:
        words.append(f"recompute={after.recompute.value}")
    if after.micro_batch != before.micro_batch:
        words.append(f"micro_batch={after.micro_batch}")
    return words
