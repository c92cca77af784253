"""Ten optimizer steps in FP8 whose loss stays within 2% of bf16's.

All number formats begin with the same weights and see the same batches.
"""

from functools import lru_cache, partial
from itertools import islice

import torch

from benchmarks.gpu import batches, models
from benchmarks.gpu.machine import engine_here, free
from benchmarks.gpu.models import BF16, FP8, FP32, Precision
from benchmarks.gpu.options import Case, Cases, Figures, Options
from benchmarks.gpu.results import Results
from benchmarks.gpu.stepping import Stepper

STEPS, LIMIT, LEARNING_RATE = 10, 0.02, 4e-4


def cases(options: Options, device: torch.device, results: Results) -> Cases:
    """One case a model and FP8 recipe; without TransformerEngine fp32 in its place."""
    compared = FP8 if engine_here(device) else (FP32,)
    for name in options.plan.steps:
        for precision in compared:
            yield Case(
                f"fp8_steps/{name}/{precision.name}",
                partial(_compare, options, device, name, precision),
            )


def _compare(options: Options, device: torch.device, name: str, precision: Precision) -> Figures:
    expected = _losses(options, device, name, BF16)
    found = _losses(options, device, name, precision)
    apart = [abs(a - b) / b for a, b in zip(found, expected, strict=True)]
    return {
        "largest_difference": max(apart),
        "last_difference": apart[-1],
        "first_loss": found[0],
        "last_loss": found[-1],
        "last_loss_bf16": expected[-1],
        "limit": LIMIT,
        "within": max(apart) <= LIMIT,
        "losses": found,
        "losses_bf16": expected,
    }


@lru_cache
def _losses(options: Options, device: torch.device, name: str, precision: Precision) -> list[float]:
    free(device)
    layers = "transformer_engine" if engine_here(device) else "local"
    stepper = Stepper(models.build(name, precision, layers, device), LEARNING_RATE)
    plan = options.plan
    dataset = batches.stream(options.fasta, plan.length)
    endless = batches.micro_batches(dataset, plan.step_tokens, plan.length, device, packed=True)
    return [float(stepper.step([batch])) for batch in islice(endless, STEPS)]
