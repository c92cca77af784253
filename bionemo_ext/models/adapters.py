"""LoRA adapters on Megatron's linear maps: their first weights, and their way to Hugging Face.

NeMo puts an adapter beside a linear map: ``linear_in`` is LoRA's A, ``linear_out`` its B. Shapes:
R rank, I inputs and O outputs of a map, N layers.
"""

from collections.abc import Mapping

import torch
from megatron.core import parallel_state
from torch import Tensor

from bionemo_ext.huggingface import Architecture
from bionemo_ext.models.convert import linear_maps, separate
from bionemo_ext.models.initialise import fill

_A, _B = ".adapter.linear_in.weight", ".adapter.linear_out.weight"


def initialise_adapters(model: torch.nn.Module, seed: int) -> None:
    """Draw A as Xavier does and set B to 0, the same under every tensor parallel size.

    Parameters
    ----------
    model : Module
        With adapters; a stage that holds all layers.
    seed : int
        Decides A together with its name.
    """
    size = parallel_state.get_tensor_model_parallel_world_size()
    for name, weight in model.named_parameters():
        if name.endswith(_A):
            shape = list(weight.shape)
            shape[weight.partition_dim] *= size
            fill(weight, name, (2 / sum(shape)) ** 0.5, seed)
        elif name.endswith(_B):
            torch.nn.init.zeros_(weight)


def adapters_to_huggingface(
    state: Mapping[str, Tensor], config: Architecture
) -> dict[str, tuple[Tensor, Tensor]]:
    """Name adapters as transformers names the linear maps; query, key and value are three there.

    Parameters
    ----------
    state : mapping of Tensor
        A checkpoint's adapters, the layers stacked: ``encoder.layers.mlp.linear_fc1.adapter
        .linear_in.weight`` [N, R, I] and ``...linear_out.weight`` [N, O, R].
    config : Architecture
        The model.

    Returns
    -------
    dict of (Tensor, Tensor)
        A [R, I] and B [O, R] of each map.
    """
    found = {}
    for name, inner in state.items():
        if not name.endswith(_A):
            continue
        outer, target = state[name.removesuffix(_A) + _B], name.removesuffix(_A).split(".")[-1]
        for layer in range(config.layers):
            parts = [outer[layer]]
            if target == "linear_qkv":
                parts = separate(outer[layer], config.heads)
            maps = linear_maps(config, layer)[target]
            found |= {m: (inner[layer], part) for m, part in zip(maps, parts, strict=True)}
    return found
