"""A run's settings in the terms of :mod:`bionemo_ext.models.memory`: what one GPU will hold."""

import math
from dataclasses import dataclass

from bionemo_ext.models import memory
from bionemo_ext.models.costs import trained_parameters
from bionemo_ext.recipes.settings import (
    Arithmetic,
    Family,
    Fp8,
    Implementation,
    ParallelSettings,
    PretrainSettings,
)

# Lengths of proteins are about log-normal; these are of 20,000 UniProt proteins, in residues. With
# them the mean of what is cut at 1,022 is 422 tokens, in truth 412.
_MEDIAN, _MEAN = 345.0, 453.0
# A packed micro-batch is as long as its proteins happen to be: this many standard deviations over
# the mean are met once in 10^9 micro-batches.
_RARE = 6.0


@dataclass(frozen=True)
class Lengths:
    """Tokens of a sequence, ``<cls>`` and ``<eos>`` counted: mean, mean square and largest."""

    mean: float
    mean_square: float
    largest: int


def lengths(settings: PretrainSettings, mean_tokens: float | None = None) -> Lengths:
    """Lengths to expect: those of UniProt, cut at ``data.max_residues``.

    For ESM-1nv longer proteins are left out instead of cut, as its data set is made.

    Parameters
    ----------
    settings : PretrainSettings
        The run.
    mean_tokens : float, optional
        Another mean; the square scales with it.
    """
    limit = float(settings.data.max_residues)
    below, share = _moments(limit)
    if settings.model.family is Family.ESM1NV:
        first, second = (moment / share for moment in below)
    else:
        first, second = (moment + (1 - share) * limit**k for k, moment in enumerate(below, 1))
    mean, square = first + 2, second + 4 * first + 4
    scale = 1.0 if mean_tokens is None else mean_tokens / mean
    return Lengths(mean * scale, square * scale**2, settings.data.max_residues + 2)


def _moments(limit: float) -> tuple[tuple[float, float], float]:
    """First two moments of a log-normal length over those below ``limit``, and their share."""
    mu, sigma = math.log(_MEDIAN), math.sqrt(2 * math.log(_MEAN / _MEDIAN))
    at = (math.log(limit) - mu) / sigma

    def below(k: int) -> float:
        whole = math.exp(k * mu + (k * sigma) ** 2 / 2)
        return whole * (1 + math.erf((at - k * sigma) / math.sqrt(2))) / 2

    return (below(1), below(2)), below(0)


def fullest_stage(settings: PretrainSettings, expected: Lengths) -> tuple[memory.Memory, int]:
    """Memory and trained parameters of a GPU of the pipeline stage that needs most."""
    config, layout, numbers = settings.model.architecture(), layout_of(settings), _numbers(settings)
    batch = micro_batch_of(settings, expected)
    stages = []
    for stage in range(layout.pipeline):
        layers, head = memory.activations(
            config, layout, numbers, batch,
            engine=settings.model.implementation is not Implementation.LOCAL,
            recompute=settings.recompute.value,
            stage=stage,
            in_flight=min(layout.pipeline - stage, accumulation(settings)),
        )  # fmt: skip
        needed = memory.Memory(
            weights=memory.weights(config, layout, numbers, stage),
            gradients=memory.gradients(config, layout, numbers, stage),
            optimizer=memory.optimizer(config, layout, numbers, stage),
            activations=layers,
            logits=head,
            working=memory.working(config, layout, numbers, batch),
        )
        held = trained_parameters(
            config, tensor=layout.tensor, pipeline=layout.pipeline, stage=stage
        )
        stages.append((needed, held))
    return max(stages, key=lambda one: one[0].total)


def micro_batch_of(settings: PretrainSettings, expected: Lengths) -> memory.MicroBatch:
    """Largest micro-batch to reckon with."""
    sequences = settings.micro_batch
    most = sequences * expected.largest
    if not settings.packing:
        return memory.MicroBatch(most, expected.largest, packed=False)
    deviation = math.sqrt(max(0.0, expected.mean_square - expected.mean**2))
    tokens = sequences * expected.mean + _RARE * math.sqrt(sequences) * deviation
    return memory.MicroBatch(min(most, math.ceil(tokens)), expected.largest, packed=True)


def layout_of(settings: PretrainSettings) -> memory.Layout:
    """How the run is spread over its GPUs."""
    parallel = settings.parallel
    return memory.Layout(
        tensor=parallel.tensor,
        pipeline=parallel.pipeline,
        data=world_size(parallel) // (parallel.tensor * parallel.pipeline),
        sequence=parallel.sequence,
        distributed_optimizer=parallel.distributed_optimizer,
    )


def _numbers(settings: PretrainSettings) -> memory.Numbers:
    precision = settings.precision
    return memory.Numbers(
        weight=4 if precision.arithmetic is Arithmetic.FP32 else 2,
        gradient=4,  # recipes.training has them reduced in fp32
        fp8=precision.fp8 is not Fp8.OFF,
        fp8_scales=4 / 128 if precision.fp8 is Fp8.BLOCKWISE else 0.0,
        bf16_first=precision.bf16_first_layers,
        bf16_last=precision.bf16_last_layers,
    )


def world_size(parallel: ParallelSettings) -> int:
    """All GPUs of a run."""
    return parallel.devices * parallel.nodes


def accumulation(settings: PretrainSettings) -> int:
    """Micro-batches of one data parallel rank in a step."""
    return settings.global_batch // (settings.micro_batch * layout_of(settings).data)
