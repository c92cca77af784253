"""Inference speed in bf16: the encoder that serves, Megatron's layers, and transformers.

All encode the same proteins, longest first, from their letters to hidden states on the device,
with the same weights.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import islice

import torch
from torch import Tensor

from benchmarks.gpu import models
from benchmarks.gpu.hugging import transformers_model
from benchmarks.gpu.machine import engine_here, free, peak_memory_gib, timed
from benchmarks.gpu.models import BF16
from benchmarks.gpu.options import Case, Cases, Figures, Options
from benchmarks.gpu.results import Results
from bionemo_ext.huggingface import State
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.packing import token_batches
from bionemo_ext.models.convert import to_huggingface
from bionemo_ext.models.folder import load_into
from bionemo_ext.models.packing import Packing
from bionemo_ext.sequences import ESM2
from bionemo_ext.sequences.fasta import read_fasta

ROUNDS = 3  # the first brings kernels in and is not counted
_LENGTH_STEP = 128

Encode = Callable[[Sequence[str]], Tensor]


def cases(options: Options, device: torch.device, results: Results) -> Cases:
    """One case a model and way to run it."""
    ways = {
        "encoder_packed": _encoder,
        "megatron_packed": _megatron_packed,
        "plain_layers_padded": _plain_padded,
        "transformers_sdpa_padded": _transformers,
    }
    for name in options.plan.inference:
        for way, make in ways.items():
            yield Case(f"inference/{name}/{way}", partial(_measure, options, device, name, make))


def _measure(
    options: Options,
    device: torch.device,
    name: str,
    make: Callable[[str, State, torch.device], Encode],
) -> Figures:
    free(device)
    encode = make(name, _weights(name, device), device)
    records = islice(read_fasta(options.fasta), options.plan.proteins)
    proteins = [record.sequence[: options.plan.length - 2] for record in records]
    lengths = [len(protein) + 2 for protein in proteins]
    groups = list(token_batches(lengths, options.plan.inference[name]))

    def once(_: int) -> None:
        for group in groups:
            encode([proteins[i] for i in group])

    with torch.inference_mode():
        once(0)
        seconds = timed(once, ROUNDS, device)
        sample = encode(proteins[:4]).float()
    figures = {
        "tokens_per_s": sum(lengths) / sorted(seconds)[len(seconds) // 2],
        "slowest": sum(lengths) / max(seconds),
        "proteins_per_s": len(proteins) / sorted(seconds)[len(seconds) // 2],
        "batch_tokens": options.plan.inference[name],
        "peak_memory_gib": peak_memory_gib(device),
        # Alike in all ways to about 1%, or they did not do the same work.
        "norm_of_4": float(sample.norm()),
    }
    return figures


@lru_cache(maxsize=1)
def _weights(name: str, device: torch.device) -> State:
    model = models.build(name, BF16, "local", device)
    return {n: w.cpu() for n, w in models.weights(model).items()}


def _encoder(name: str, state: State, device: torch.device) -> Encode:
    shape = models.architecture(name)
    encoder = Encoder(shape, to_huggingface(state, shape), torch.bfloat16, str(device))
    return lambda proteins: encoder.encode(proteins).hidden


def _megatron_packed(name: str, state: State, device: torch.device) -> Encode:
    layers = "transformer_engine" if engine_here(device) else "local"
    model = models.build(name, BF16, layers, device).eval()
    load_into(model, state)

    def encode(proteins: Sequence[str]) -> Tensor:
        tokens, offsets = ESM2.encode_packed(proteins)
        longest = -(-(max(map(len, proteins)) + 2) // _LENGTH_STEP) * _LENGTH_STEP
        packing = Packing(torch.from_numpy(offsets).int().to(device), longest, len(tokens))
        row = torch.from_numpy(tokens).to(device)[None]
        return model.encode(row, torch.ones_like(row), packing)[:, 0]

    return encode


def _plain_padded(name: str, state: State, device: torch.device) -> Encode:
    model = models.build(name, BF16, "local", device).eval()
    load_into(model, state)

    def encode(proteins: Sequence[str]) -> Tensor:
        tokens, mask = (torch.from_numpy(a).to(device) for a in ESM2.encode_padded(proteins))
        return model.encode(tokens, mask).transpose(0, 1)[mask.bool()]

    return encode


def _transformers(name: str, state: State, device: torch.device) -> Encode:
    model = transformers_model(name, state, torch.bfloat16, device).esm

    def encode(proteins: Sequence[str]) -> Tensor:
        tokens, mask = (torch.from_numpy(a).to(device) for a in ESM2.encode_padded(proteins))
        return model(tokens, mask).last_hidden_state[mask.bool()]

    return encode
