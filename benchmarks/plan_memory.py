"""Plan's memory figures beside what a real model, optimizer and training step hold on one CPU rank.

    python benchmarks/plan_memory.py --model esm2_8m --model esm2_35m

Weights, gradients and optimizer: the bytes of their tensors' storages, after a step. Activations:
the storages that autograd keeps between forward and backward, parameters left out, at their peak.
FLOPs: what PyTorch's counter sees of one micro-batch, forward and backward.
"""

import argparse
import gc
import json
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.tensor_parallel import random as megatron_random
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bionemo_ext.errors import RunError
from bionemo_ext.huggingface import Architecture, ESM1nvConfig, ESM2Config
from bionemo_ext.models import memory
from bionemo_ext.models.config import megatron_config
from bionemo_ext.models.costs import training_flops
from bionemo_ext.models.esm1nv import ESM1nvModel
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.masked_lm import MaskedLM
from bionemo_ext.models.packing import Packing
from bionemo_ext.recipes import cpu

SHAPES: dict[str, Architecture] = {
    "esm2_8m": ESM2Config(6, 320, 20),
    "esm2_35m": ESM2Config(12, 480, 20),
    "esm2_150m": ESM2Config(30, 640, 20),
    "esm1nv_44m": ESM1nvConfig(dropout=0.0),  # PyTorch drops out on a CPU as it does not on a GPU
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LENGTHS = (254, 96, 187, 31, 140, 64, 201, 51)  # 1,024 tokens


@dataclass(frozen=True)
class Case:
    """One thing that is measured."""

    model: str
    dtype: str
    packed: bool
    recompute: str
    layout: memory.Layout

    @property
    def kind(self) -> str:
        """In words."""
        return f"{'packed' if self.packed else 'padded'}, recompute {self.recompute}"


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", choices=SHAPES, help="may be given often")
    parser.add_argument("--dtype", action="append", choices=DTYPES)
    parser.add_argument("--tensor", type=int, default=1, help="ranks that share a layer; over 1 "
                        "only activations, as one of ranks whose exchange is left out")  # fmt: skip
    parser.add_argument("--sequence", action="store_true", help="they share the tokens too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    layout = memory.Layout(tensor=options.tensor, sequence=options.sequence)
    begin(layout)
    rows = []
    for model, dtype in product(options.model or ["esm2_8m"], options.dtype or DTYPES):
        rows += states(model, dtype) if layout.tensor == 1 else []
        for packed, recompute in product((False, True), ("none", "selective", "full")):
            case = Case(model, dtype, packed, recompute, layout)
            rows.append(activations(case))
            rows += [operations(case)] if layout.tensor == 1 else []
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        error = row["planned"] / row["real"] - 1
        print(
            f"{row['model']:<11}{row['dtype']:<6}{row['kind']:<36}"
            f"{row['planned']:>15,.0f}{row['real']:>15,.0f}{error:>9.2%}"
        )


def begin(layout: memory.Layout) -> None:
    """Be the only rank of a gloo group, or one of several that do not answer; on the CPU."""
    if layout.tensor == 1:
        store: Any = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    else:
        from torch.testing._internal.distributed.fake_pg import FakeStore

        torch.distributed.init_process_group(
            "fake", store=FakeStore(), rank=0, world_size=layout.tensor
        )
    cpu.enable()
    # Recomputation keeps the states of both generators; here they are one.
    megatron_random._get_cuda_rng_state = lambda *args, **kwargs: torch.get_rng_state()
    megatron_random._set_cuda_rng_state = lambda *args, **kwargs: None
    parallel_state.initialize_model_parallel(
        layout.tensor, create_gloo_process_groups=layout.tensor == 1
    )
    tensor_parallel.model_parallel_cuda_manual_seed(1)


def states(name: str, dtype: str) -> list[dict[str, Any]]:
    """Compare weights, gradients and optimizer with both kinds of optimizer."""
    config, numbers = SHAPES[name], numbers_of(dtype)
    rows = []
    for distributed in (False, True):
        model = build(config, dtype, "none", memory.Layout())
        wrapped = DistributedDataParallel(
            model.config,
            DistributedDataParallelConfig(
                grad_reduce_in_fp32=numbers.gradient == 4, use_distributed_optimizer=distributed
            ),
            model,
        )
        optimizer = get_megatron_optimizer(
            OptimizerConfig(
                optimizer="adam", lr=1e-4, bf16=dtype == "bf16", params_dtype=DTYPES[dtype],
                use_distributed_optimizer=distributed,
            ),
            [wrapped],
        )  # fmt: skip
        loss(wrapped, packed=True).backward()
        wrapped.finish_grad_sync()
        if not optimizer.step()[0]:
            raise RunError("the optimizer took no step")
        of_model = storages(list(model.parameters()))
        of_gradients = storages([p.main_grad for p in model.parameters() if p.requires_grad])
        of_optimizer = storages(tensors_of(optimizer))
        layout = memory.Layout(distributed_optimizer=distributed)
        suffix = ", distributed optimizer" if distributed else ""
        for kind, planned, real in (
            ("weights", memory.weights, of_model),
            ("gradients", memory.gradients, of_gradients),
            ("optimizer", memory.optimizer,
             {k: v for k, v in of_optimizer.items() if k not in of_model | of_gradients}),
        ):  # fmt: skip
            rows.append(row(name, dtype, kind + suffix, planned(config, layout, numbers, 0), real))
    return rows


def activations(case: Case) -> dict[str, Any]:
    """Compare what autograd keeps of one micro-batch, at the peak of forward and backward."""
    config, numbers = SHAPES[case.model], numbers_of(case.dtype)
    model = build(config, case.dtype, case.recompute, case.layout)
    ledger = Ledger(model)
    with torch.autograd.graph.saved_tensors_hooks(ledger.pack, ledger.unpack):
        loss(model, packed=case.packed).backward()
    tokens = sum(LENGTHS) if case.packed else len(LENGTHS) * max(LENGTHS)
    batch = memory.MicroBatch(tokens, max(LENGTHS), case.packed)
    planned = memory.activations(
        config, case.layout, numbers, batch,
        engine=False, recompute=case.recompute, stage=0, in_flight=1,
    )  # fmt: skip
    return row(case.model, case.dtype, f"activations, {case.kind}", sum(planned), {0: ledger.peak})


def operations(case: Case) -> dict[str, Any]:
    """Compare the matrix products of one micro-batch, with attention in the open to be counted."""
    config = SHAPES[case.model]
    model = build(config, case.dtype, case.recompute, case.layout)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss(model, packed=case.packed).backward()
    lengths = LENGTHS if case.packed else [max(LENGTHS)] * len(LENGTHS)
    squares = sum(length**2 for length in lengths)
    planned = training_flops(config, sum(lengths), squares, recompute=case.recompute)
    return row(
        case.model, case.dtype, f"FLOPs, {case.kind}", planned, {0: counter.get_total_flops()}
    )


class Ledger:
    """Counts the bytes of the storages that autograd holds, each once, at any time.

    Parameters
    ----------
    model : Module
        Its own tensors are not counted.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.own = storages([*model.parameters(), *model.buffers()]).keys()
        self.holders: Counter[int] = Counter()
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> "Held":
        """Take a tensor that a backward pass will need."""
        return Held(self, tensor)

    def unpack(self, held: "Held") -> Tensor:
        """Give it back."""
        return held.tensor

    def change(self, tensor: Tensor, by: int) -> None:
        """Add a holder of a storage, or take one away."""
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self.own:
            return
        before = self.holders[key]
        self.holders[key] += by
        if before == 0 or self.holders[key] == 0:
            self.now += by * storage.nbytes()
            self.peak = max(self.peak, self.now)


class Held:
    """A tensor in autograd's keeping, until the graph lets it go."""

    def __init__(self, ledger: Ledger, tensor: Tensor) -> None:
        self.ledger, self.tensor = ledger, tensor
        ledger.change(tensor, +1)

    def __del__(self) -> None:
        self.ledger.change(self.tensor, -1)


def build(config: Architecture, dtype: str, recompute: str, layout: memory.Layout) -> MaskedLM:
    """Make a model with local layers, as pretraining does."""
    gc.collect()
    kind = ESM2Model if config.family == "esm2" else ESM1nvModel
    told = megatron_config(
        config, dtype=DTYPES[dtype], recompute=recompute,
        tensor_parallel=layout.tensor, sequence_parallel=layout.sequence,
    )  # fmt: skip
    return kind(config, told).train()


def loss(model: torch.nn.Module, packed: bool) -> Tensor:
    """Sum of the losses of random proteins."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(5, 25, (length,), generator=generator) for length in LENGTHS]
    if packed:
        tokens = torch.cat(rows)[None]
        offsets = torch.tensor([0, *LENGTHS]).cumsum(0).to(torch.int32)
        packing = Packing(offsets, max(LENGTHS), tokens.numel())
        return model(tokens, torch.ones_like(tokens), tokens, packing).sum()
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)
    mask = (tokens != 1).long()
    return (model(tokens, mask, tokens) * mask).sum()


def numbers_of(dtype: str) -> memory.Numbers:
    """Bytes of a number: gradients are reduced in fp32 whatever the weights are."""
    return memory.Numbers(weight=DTYPES[dtype].itemsize, gradient=4)


def tensors_of(optimizer: Any) -> list[Tensor]:
    """Collect the master weights, their gradients and Adam's moments."""
    found = []
    for one in (
        optimizer.chained_optimizers if hasattr(optimizer, "chained_optimizers") else [optimizer]
    ):
        torch_optimizer = one.optimizer
        for group in torch_optimizer.param_groups:
            for parameter in group["params"]:
                found += [parameter, parameter.grad]
                found += torch_optimizer.state[parameter].values()
    return [t for t in found if isinstance(t, Tensor)]


def storages(tensors: list[Tensor]) -> dict[int, int]:
    """Bytes of each storage behind some tensors."""
    all_storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in all_storages}


def row(model: str, dtype: str, kind: str, planned: float, real: dict[int, int]) -> dict[str, Any]:
    """One comparison."""
    return {
        "model": model, "dtype": dtype, "kind": kind,
        "planned": planned, "real": sum(real.values()),
    }  # fmt: skip


if __name__ == "__main__":
    main()
