"""Training speed: real tokens a second and MFU, padded and packed, by number format.

A step is forward, backward and Adam with fp32 master weights on one micro-batch of masked
proteins. Every distinct batch runs once before the clock starts. Then inference of what is too
large to train here.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch

from benchmarks.gpu import batches, models
from benchmarks.gpu.batches import Batch
from benchmarks.gpu.machine import engine_here, free, peak, peak_memory_gib, timed
from benchmarks.gpu.models import BF16, FP8, Precision
from benchmarks.gpu.options import Case, Cases, Figures, Options
from benchmarks.gpu.results import DETAILS, PROGRESS, Results
from benchmarks.gpu.stepping import Stepper
from bionemo_ext.huggingface import Architecture
from bionemo_ext.models.costs import training_flops

DISTINCT = 4  # batches, gone through again and again
ROUNDS = 3  # of these that are timed

# Real tokens a second of one H200 that are aimed at, packed in bf16; and of BioNeMo 2 on an H100.
TARGETS = {"esm2_650m": 120_000, "esm2_3b": 34_000}
MFU_TARGET = 0.5


@dataclass(frozen=True)
class _Kind:
    """What is trained, and how."""

    name: str
    precision: Precision
    packed: bool
    layers: str

    @property
    def key(self) -> str:
        layout = "packed" if self.packed else "padded"
        return f"train/{self.name}/{self.precision.name}_{layout}"


def cases(options: Options, device: torch.device, results: Results) -> Cases:
    """One case a model, number format and layout, and inference of the largest model."""
    layers = "transformer_engine" if engine_here(device) else "local"
    for name in options.plan.train:
        for precision, packed in _formats(device):
            kind = _Kind(name, precision, packed, layers)
            yield Case(kind.key, partial(_train, options, device, results, kind))
    for name, budget in options.plan.infer_only.items():
        key = f"train/{name}/inference_bf16_packed"
        yield Case(key, partial(_forward_only, options, device, name, budget, layers))


def _formats(device: torch.device) -> Iterator[tuple[Precision, bool]]:
    yield BF16, False
    yield BF16, True
    if engine_here(device):
        for packed in (True, False):
            for precision in FP8:
                yield precision, packed


def _train(options: Options, device: torch.device, results: Results, kind: _Kind) -> Figures:
    best: Figures = {}
    for recompute in ("none", "selective", "full"):
        for budget in options.plan.train[kind.name]:
            try:
                found = _measure(options, device, kind, recompute, budget)
            except torch.OutOfMemoryError:
                results.write(
                    kind.key, PROGRESS, micro_batch=budget, recompute=recompute, fits=False
                )
                break
            results.write(kind.key, PROGRESS, **found)
            best = max(best, found, key=lambda f: f.get("tokens_per_s", 0))
        if best:
            return best | _targets(kind, best)
    raise RuntimeError("not even the smallest micro-batch fits with full recomputation")


def _measure(
    options: Options, device: torch.device, kind: _Kind, recompute: str, budget: int
) -> Figures:
    free(device)
    model = models.build(kind.name, kind.precision, kind.layers, device, recompute)
    stepper = Stepper(model, lr=1e-4)
    found = list(islice(_batches(options, device, budget, kind.packed), DISTINCT))
    losses = [stepper.step([batch]) for batch in found]
    seconds = timed(
        lambda i: losses.append(stepper.step([found[i % DISTINCT]])), DISTINCT * ROUNDS, device
    )
    figures = _speed(models.architecture(kind.name), found, seconds, device) | {
        "micro_batch": budget,
        "recompute": recompute,
        "peak_memory_gib": peak_memory_gib(device),
        "first_loss": float(losses[0]),
        "last_loss": float(losses[-1]),
    }
    if options.profile and budget == options.plan.train[kind.name][0]:
        _profile(options, f"{kind.key}, micro-batch {budget}", stepper, found[0])
    return figures


def _batches(options: Options, device: torch.device, budget: int, packed: bool) -> Iterator[Batch]:
    dataset = batches.stream(options.fasta, options.plan.length)
    return batches.micro_batches(dataset, budget, options.plan.length, device, packed=packed)


def _speed(
    shape: Architecture, found: list[Batch], seconds: list[float], device: torch.device
) -> Figures:
    steps = [found[i % len(found)] for i in range(len(seconds))]
    tokens, total = sum(b.tokens for b in steps), sum(seconds)
    flops = training_flops(shape, tokens, sum(b.squared_lengths for b in steps))
    rates = [b.tokens / s for b, s in zip(steps, seconds, strict=True)]
    best = peak(device)
    return {
        "tokens_per_s": tokens / total,
        "median": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "mfu_of_bf16_peak": flops / total / best if best else None,
        "tflops": flops / total / 1e12,
        "padding_share": 1 - sum(b.tokens for b in found) / sum(b.places for b in found),
        "step_ms": 1000 * statistics.median(seconds),
    }


def _targets(kind: _Kind, best: Figures) -> Figures:
    if kind.name not in TARGETS or not kind.packed or kind.precision is not BF16:
        return {}
    return {
        "target_tokens_per_s": TARGETS[kind.name],
        "target_mfu": MFU_TARGET,
        "reached": best["tokens_per_s"] >= TARGETS[kind.name],
    }


def _profile(options: Options, title: str, stepper: Stepper, batch: Batch) -> None:
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.cuda.is_available()
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=kinds) as profiler:
        stepper.step([batch])
        if on_gpu:
            torch.cuda.synchronize()
    by = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=by, row_limit=30, max_name_column_width=70)
    results = Results(options.out, options.mirror)
    results.append_text(DETAILS, f"{title}\n{table}\n\n")


@torch.no_grad()
def _forward_only(
    options: Options, device: torch.device, name: str, budget: int, layers: str
) -> Figures:
    free(device)
    model = models.build(name, BF16, layers, device).eval()
    found = list(islice(_batches(options, device, budget, True), DISTINCT))

    def forward(i: int) -> None:
        t = found[i % DISTINCT].tensors
        model.encode(t["tokens"], t["attention_mask"], found[i % DISTINCT].packing)

    for i in range(DISTINCT):
        forward(i)
    seconds = timed(forward, DISTINCT * ROUNDS, device)
    steps = [found[i % DISTINCT] for i in range(len(seconds))]
    return {
        "tokens_per_s": sum(b.tokens for b in steps) / sum(seconds),
        "micro_batch": budget,
        "peak_memory_gib": peak_memory_gib(device),
    }
