"""Adapters applied beside the weights (LoRA; Hu et al., 2021, arXiv 2106.09685).

A linear map ``W x`` becomes ``W x + (alpha / r) B A x``. Shapes: r rank.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import Architecture
from bionemo_ext.huggingface.adapter import Adapter
from bionemo_ext.inference.names import LAYER_MAPS, PROJECTIONS, layer_prefix


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to one linear map.

    Parameters
    ----------
    down : Tensor
        A, [r, inputs].
    up : Tensor
        B times alpha / r, [outputs, r].
    """

    down: Tensor
    up: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Map [T, inputs] to [T, outputs]."""
        return F.linear(F.linear(x, self.down), self.up)

    def to(self, device: torch.device, dtype: torch.dtype) -> "LowRank":
        """The same on a device and in a number format."""
        return LowRank(self.down.to(device, dtype), self.up.to(device, dtype))


def low_rank_maps(config: Architecture, adapter: Adapter) -> dict[str, LowRank]:
    """What an adapter adds to each linear map, by the encoder's names.

    Raises
    ------
    CheckpointError
        If the adapter changes something that is no linear map of the model's layers, or in
        another shape.
    """
    left = dict(adapter.tensors)
    sizes = {"attention.out": (config.hidden, config.hidden)}
    sizes |= {"ffn.in": (config.hidden, config.ffn), "ffn.out": (config.ffn, config.hidden)}
    found = {}
    for layer in range(config.layers):
        prefix = layer_prefix(config, layer)
        for ours, theirs in LAYER_MAPS.items():
            pair = left.pop(f"{prefix}.{theirs}", None)
            if pair is not None:
                _check(f"{prefix}.{theirs}", pair, *sizes[ours])
                found[f"{layer}.{ours}"] = LowRank(pair[0], pair[1] * adapter.scale)
        pairs = {part: left.pop(f"{prefix}.{part}", None) for part in PROJECTIONS}
        if any(pair is not None for pair in pairs.values()):
            found[f"{layer}.qkv"] = _projections(prefix, pairs, config.hidden, adapter.scale)
    if left:
        raise CheckpointError(
            f"the adapter changes {sorted(left)[0]}, which is no linear map of the model's layers"
        )
    return found


def _projections(
    prefix: str, pairs: Mapping[str, tuple[Tensor, Tensor] | None], hidden: int, scale: float
) -> LowRank:
    """One map for query, key and value, as the encoder has them; a missing one adds nothing."""
    downs, ups = [], []
    for part, pair in pairs.items():
        if pair is not None:
            _check(f"{prefix}.{part}", pair, hidden, hidden)
        down, up = pair or (torch.zeros(1, hidden), torch.zeros(hidden, 1))
        downs.append(down)
        ups.append(up * scale)
    if all(down.shape == downs[0].shape and torch.equal(down, downs[0]) for down in downs):
        return LowRank(downs[0], torch.cat(ups))  # Megatron's three share their A
    return LowRank(torch.cat(downs), torch.block_diag(*ups))


def _check(name: str, pair: tuple[Tensor, Tensor], inputs: int, outputs: int) -> None:
    down, up = pair
    if down.shape[1] != inputs or up.shape[0] != outputs or down.shape[0] != up.shape[1]:
        raise CheckpointError(
            f"the adapter of {name} maps {down.shape[1]} to {up.shape[0]} numbers, the model's "
            f"linear map {inputs} to {outputs}"
        )
