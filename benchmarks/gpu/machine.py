"""One rank on one device, and a clock for what it does."""

import gc
import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise

import torch
from megatron.core import parallel_state, tensor_parallel

from benchmarks.gpu.options import Figures
from bionemo_ext.models.costs import peak_flops

SEED = 1


def open_device(device: str) -> torch.device:
    """Make this process the only rank of a Megatron world on ``cuda`` or ``cpu``."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no NVIDIA GPU can be seen here; --dry-run runs everything on the CPU")
    on_gpu = device == "cuda"
    torch.distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=torch.distributed.HashStore(),
        rank=0,
        world_size=1,
    )
    if on_gpu:
        torch.cuda.set_device(0)
        # The reference is fp32, not TF32.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    else:
        from bionemo_ext.recipes import cpu  # bends Megatron only, and imports no NeMo

        cpu.enable()
    parallel_state.initialize_model_parallel(create_gloo_process_groups=not on_gpu)
    tensor_parallel.model_parallel_cuda_manual_seed(SEED)
    torch.manual_seed(SEED)
    return torch.device(device)


def engine_here(device: torch.device) -> bool:
    """Whether TransformerEngine's layers can run."""
    return device.type == "cuda" and find_spec("transformer_engine") is not None


def describe(device: torch.device) -> Figures:
    """Versions, and what the device is."""
    from megatron.core import __version__ as megatron

    found: Figures = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "megatron_core": megatron,
    }
    if engine_here(device):
        import transformer_engine

        found["transformer_engine"] = transformer_engine.__version__
    if device.type == "cuda":
        found |= {
            "device": torch.cuda.get_device_name(),
            "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    else:
        found |= {"device": "cpu", "threads": torch.get_num_threads()}
    return found | {"cores": os.cpu_count()}


def peak(device: torch.device, arithmetic: str = "bf16") -> float | None:
    """FLOP/s by the data sheet; None for a CPU."""
    return peak_flops(torch.cuda.get_device_name(), arithmetic) if device.type == "cuda" else None


def timed(work: Callable[[int], object], count: int, device: torch.device) -> list[float]:
    """Seconds of ``work(0)`` ... ``work(count - 1)``, by CUDA events where there are any."""
    if device.type != "cuda":
        marks = [time.perf_counter()]
        for i in range(count):
            work(i)
            marks.append(time.perf_counter())
        return [b - a for a, b in pairwise(marks)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    torch.cuda.synchronize()
    events[0].record()
    for i in range(count):
        work(i)
        events[i + 1].record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1000 for a, b in pairwise(events)]


def free(device: torch.device) -> None:
    """Give back what dropped models held, and forget TransformerEngine's FP8 statistics."""
    gc.collect()
    if device.type != "cuda":
        return
    if engine_here(device):
        from transformer_engine.pytorch.quantization import FP8GlobalStateManager

        FP8GlobalStateManager.reset()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def peak_memory_gib(device: torch.device) -> float | None:
    """Most memory that tensors held since :func:`free`."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None
