"""bf16 and FP8 against fp32, on the same weights: logits, loss and gradients.

The reference is this project's plain PyTorch layers in fp32, padded, which tests hold to
transformers on the CPU; where transformers can be imported, it is compared too. The weights are
numbers that bf16 holds exactly, so that what differs is the arithmetic alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from benchmarks.gpu import batches, models
from benchmarks.gpu.batches import Batch
from benchmarks.gpu.hugging import transformers_model
from benchmarks.gpu.machine import engine_here, free
from benchmarks.gpu.models import BF16, FP8, FP32, Precision
from benchmarks.gpu.options import Case, Cases, Figures, Options
from benchmarks.gpu.results import Results
from bionemo_ext.data.batches import collate, pack
from bionemo_ext.huggingface import State
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.folder import load_into
from bionemo_ext.sequences import ESM2

# Passes before the compared one: delayed scaling begins with scales of 1 and learns from what
# went before.
_WARM_UP = 3
# Largest relative error of the logits that is in order, by number format.
LIMITS = {"fp32": 1e-3, "bf16": 5e-2, "fp8": 0.3}


@dataclass(frozen=True)
class _Reference:
    state: State
    logits: Tensor
    loss: float
    gradients: State


def cases(options: Options, device: torch.device, results: Results) -> Cases:
    """One case a model, kind of layers, number format and layout."""
    for name in options.plan.parity:
        theirs = partial(_transformers, options, device, name)
        yield Case(f"parity/{name}/transformers_fp32", theirs)
        for precision, layers in _kinds(device):
            for packed in (False, True):
                layout = "packed" if packed else "padded"
                yield Case(
                    f"parity/{name}/{layers}_{precision.name}_{layout}",
                    partial(_compare, options, device, name, precision, layers, packed),
                )


def _kinds(device: torch.device) -> Iterator[tuple[Precision, str]]:
    yield FP32, "local"
    yield BF16, "local"
    if engine_here(device):
        for precision in (BF16, *FP8):
            yield precision, "transformer_engine"


def _batch(options: Options, device: torch.device, packed: bool) -> Batch:
    """The same proteins, padded or packed."""
    plan = options.plan
    dataset = batches.stream(options.fasta, plan.length)
    samples = dataset.__getitems__(range(plan.parity_tokens // plan.length * 4))
    tensors = pack(samples, ESM2.pad_id, 128) if packed else collate(samples, ESM2.pad_id, 16)
    return batches.on_device(tensors, device)


@lru_cache(maxsize=1)
def _reference(options: Options, device: torch.device, name: str) -> _Reference:
    model = models.build(name, FP32, "local", device)
    models.unsettle(model)
    batch = _batch(options, device, packed=False)
    logits, loss, gradients = _run(model, batch, passes=1)
    state = {n: w.cpu() for n, w in models.weights(model).items()}
    return _Reference(state, logits, loss, {n: g.cpu() for n, g in gradients.items()})


def _run(model: ESM2Model, batch: Batch, passes: int) -> tuple[Tensor, float, State]:
    for _ in range(passes):
        model.zero_grad(set_to_none=True)
        model.set_is_first_microbatch()
        loss = batches.mean_loss(model, batch)
        loss.backward()
    return batches.real_logits(model, batch), float(loss), models.gradients(model)


def _compare(
    options: Options,
    device: torch.device,
    name: str,
    precision: Precision,
    layers: str,
    packed: bool,
) -> Figures:
    reference = _reference(options, device, name)
    model = models.build(name, precision, layers, device)
    load_into(model, {n: w.to(precision.dtype) for n, w in reference.state.items()})
    batch = _batch(options, device, packed)
    passes = _WARM_UP if precision.fp8 != "off" else 1
    logits, loss, gradients = _run(model, batch, passes)
    figures = _logit_errors(logits, reference, precision.name)
    figures["loss_error"] = abs(loss - reference.loss) / reference.loss
    figures |= _gradient_errors(gradients, reference.gradients)
    del model, gradients
    free(device)
    return figures


def _logit_errors(logits: Tensor, reference: _Reference, precision: str) -> Figures:
    difference = (logits - reference.logits).abs()
    relative = float(difference.norm() / reference.logits.norm())
    agree = logits.argmax(-1) == reference.logits.argmax(-1)
    limit = LIMITS[precision.partition("_")[0]]
    return {
        "logits_relative_error": relative,
        "logits_largest_error": float(difference.max()),
        "logits_largest": float(reference.logits.abs().max()),
        "same_best_token": float(agree.float().mean()),
        "limit": limit,
        "within": relative <= limit,
    }


def _gradient_errors(found: State, expected: State) -> Figures:
    """Relative error over all gradients together, and of the worst tensor."""
    squares, total, worst = 0.0, 0.0, ("", 0.0)
    for name, gradient in expected.items():
        error = float((found[name].cpu() - gradient).norm())
        size = float(gradient.norm())
        squares, total = squares + error**2, total + size**2
        if size and error / size > worst[1]:
            worst = (name, error / size)
    return {
        "gradients_relative_error": (squares / total) ** 0.5,
        "gradients_worst": worst[1],
        "gradients_worst_name": worst[0],
    }


def _transformers(options: Options, device: torch.device, name: str) -> Figures:
    reference = _reference(options, device, name)
    model = transformers_model(name, reference.state, torch.float32, device)
    t = _batch(options, device, packed=False).tensors
    with torch.no_grad():
        logits = model(t["tokens"], t["attention_mask"]).logits[t["attention_mask"].bool()].float()
    del model
    free(device)
    return _logit_errors(logits, reference, "fp32")
