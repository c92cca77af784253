"""Faults of Megatron-core 0.15.3 in saving and loading its distributed optimizer, mended.

Each stands between a checkpoint and the run that goes on from it under another layout:

- bucket by bucket, the optimizer's state is joined without the padding at the buckets' ends, but
  cut into parameters by positions that count the padding. Whatever follows a padded bucket is then
  saved shifted (with pipeline stages the embedding, which has a bucket of its own);
- without Apex or TransformerEngine, PyTorch's Adam is asked for its step before the first one
  (loading, or saving while every step of an fp16 run has overflown);
- its step is looked for among the loaded tensors, where it is not;
- all parameters are given one tensor as their step, which Adam counts up once for each of them.
"""

from typing import Any

import torch
from megatron.core.distributed.param_and_grad_buffer import _ParamAndGradBuffer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

_state_dict = DistributedOptimizer.state_dict
_sharded_parameters = DistributedOptimizer.sharded_param_state_fully_reshardable
_set_states = DistributedOptimizer._set_main_param_and_optimizer_states
_load_state_dict = DistributedOptimizer.load_state_dict


def mend() -> None:
    """Put the mended methods in place of Megatron's. Calling it again does nothing."""
    DistributedOptimizer.sharded_param_state_fully_reshardable = _sharded_parameters_in_place
    DistributedOptimizer.state_dict = _state_dict_with_step
    DistributedOptimizer._set_main_param_and_optimizer_states = _set_states_but_step
    DistributedOptimizer.load_state_dict = _load_state_dict_with_steps


def _sharded_parameters_in_place(
    optimizer: DistributedOptimizer, *args: Any, **kwargs: Any
) -> dict[int, Any] | None:
    padded = [buffer.param_index_map for buffer in optimizer.buffers]
    for buffer in optimizer.buffers:
        buffer.param_index_map = _positions_without_padding(buffer)
    try:
        return _sharded_parameters(optimizer, *args, **kwargs)
    finally:
        for buffer, positions in zip(optimizer.buffers, padded, strict=True):
            buffer.param_index_map = positions


def _positions_without_padding(
    buffer: _ParamAndGradBuffer,
) -> dict[torch.nn.Parameter, tuple[int, int, int]]:
    """Where each parameter lies once the padding at the buckets' ends is gone."""
    before, gap = [], 0
    for bucket, (start, end) in zip(buffer.buckets, buffer.bucket_indices, strict=True):
        before.append(gap)
        gap += end - start - bucket.numel_unpadded
    return {
        parameter: (start - before[bucket], end - before[bucket], bucket)
        for parameter, (start, end, bucket) in buffer.param_index_map.items()
    }


def _state_dict_with_step(optimizer: DistributedOptimizer) -> dict[str, Any]:
    adam = optimizer.optimizer
    if isinstance(adam, torch.optim.Adam) and not adam.state:
        for parameter in (p for group in adam.param_groups for p in group["params"]):
            adam.state[parameter] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
    return _state_dict(optimizer)


def _set_states_but_step(
    optimizer: DistributedOptimizer, parameter: torch.nn.Parameter, loaded: dict[str, Any]
) -> None:
    own = optimizer._get_main_param_and_optimizer_states(parameter)
    counted = {"step": own["step"]} if "step" in own else {}
    _set_states(optimizer, parameter, {**counted, **loaded})


def _load_state_dict_with_steps(optimizer: DistributedOptimizer, state: dict[str, Any]) -> None:
    _load_state_dict(optimizer, state)
    for own in optimizer.optimizer.state.values():
        if isinstance(own.get("step"), torch.Tensor):
            own["step"] = own["step"].clone()
