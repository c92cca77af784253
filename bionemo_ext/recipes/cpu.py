"""Megatron and NeMo on a CPU: the few places where they take a GPU for granted.

``enable()`` is called once, before a model is built, and only where there is no GPU. Training then
takes the same path as on a GPU: the same trainer, layers, optimizer and checkpoint, with gloo
between the ranks. Everything that is bent is bent here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from megatron.core.tensor_parallel import random as megatron_random
from torch.overrides import TorchFunctionMode

_CPU = torch.device("cpu")
_enabled: list["_CudaMeansCpu"] = []


def enable() -> None:
    """Make Megatron and NeMo run on the CPU of this process. Calling it again does nothing."""
    if _enabled:
        return
    torch.cuda.current_device = lambda: _CPU
    torch.cuda.set_device = lambda device: None
    torch.cuda.synchronize = lambda device=None: None
    torch.cuda.empty_cache = lambda: None
    torch.cuda.Stream = _NoStream
    torch.cuda.stream = _no_stream
    torch.cuda.manual_seed = lambda seed: None
    # Recomputed activations drop what was dropped before: the CPU's state is kept beside this one.
    megatron_random._get_cuda_rng_state = lambda *_, **__: torch.get_rng_state()
    megatron_random._set_cuda_rng_state = lambda *_, **__: None
    megatron_random.CudaRNGStatesTracker = CpuRngTracker
    megatron_random.initialize_rng_tracker(force_reset=True)
    mode = _CudaMeansCpu()
    mode.__enter__()
    _enabled.append(mode)


def enable_nemo() -> None:
    """:func:`enable`, and let NeMo's checkpoint reader leave tensors where they are."""
    from nemo.lightning.io import pl

    enable()
    pl._fix_tensors_device = lambda checkpoint: checkpoint


class CpuRngTracker(megatron_random.CudaRNGStatesTracker):
    """Megatron's named random states, kept for the CPU generator."""

    def add(self, name: str, seed: int) -> None:
        """Begin a state of its own for ``name``."""
        self._is_initialized = True
        self.seeds_.add(seed)
        generator = torch.Generator().manual_seed(seed)
        self.states_[name] = generator.get_state()

    @contextmanager
    def fork(self, name: str = megatron_random._MODEL_PARALLEL_RNG_TRACKER_NAME) -> Iterator[None]:
        """Draw from the state of ``name`` inside the block."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self.states_[name])
        try:
            yield
        finally:
            self.states_[name] = torch.get_rng_state()
            torch.set_rng_state(outside)


class _NoStream:
    """A CUDA stream on a machine without CUDA."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


@contextmanager
def _no_stream(stream: object) -> Iterator[None]:
    yield


class _CudaMeansCpu(TorchFunctionMode):
    """Turn ``device="cuda"`` and ``.cuda()`` into the CPU and forget pinned memory."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            # Megatron compares the name: it sorts parameters by it and clips gradients by it.
            return func(*args).replace("torch.", "torch.cuda.", 1)
        kwargs.pop("pin_memory", None)
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = _CPU
        if func is torch.Tensor.to:
            args = (args[0], *(_CPU if _is_cuda(a) else a for a in args[1:]))
        return func(*args, **kwargs)


def _is_cuda(device: object) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.startswith("cuda")
