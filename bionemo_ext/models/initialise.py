"""Initial weights that depend on the seed and the weight's name alone.

However a model is cut into tensor parallel parts and pipeline stages, it begins as the same model.
"""

import zlib
from collections.abc import Iterator

import torch
from megatron.core import parallel_state
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import get_transformer_layer_offset
from torch import Tensor

_LAYER = "encoder.layers."


def initialise(model: torch.nn.Module, config: TransformerConfig, seed: int) -> None:
    """Fill a stage's matrices: normal, deviation .02, and .02 / sqrt(2 layers) into the residual.

    Biases are 0 and LayerNorms 1 already.
    """
    for name, weight in whole_names(model, config):
        if weight.ndim != 2 or weight.is_meta:
            continue
        residual = name.endswith(("linear_proj.weight", "linear_fc2.weight"))
        shrink = (2 * config.num_layers) ** -0.5 if residual else 1.0
        fill(weight, name, config.init_method_std * shrink, seed)


def fill(weight: torch.nn.Parameter, name: str, deviation: float, seed: int) -> None:
    """Draw a whole matrix from a normal distribution and keep this rank's part of it.

    Parameters
    ----------
    weight : Parameter
        This rank's part.
    name : str
        Of the matrix in the whole model.
    deviation : float
        Standard deviation.
    seed : int
        Decides the numbers together with the name.
    """
    generator = torch.Generator(weight.device)
    generator.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    whole = torch.empty(_whole_shape(weight), device=weight.device)
    whole.normal_(std=deviation, generator=generator)
    weight.data.copy_(_own_part(whole, weight))


def whole_names(
    model: torch.nn.Module, config: TransformerConfig
) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Parameters of a stage by their names in the whole model.

    A stage counts its layers from 0, and the last of several holds the embedding once more as the
    weight of the output layer.
    """
    offset = get_transformer_layer_offset(config)
    for name, parameter in model.named_parameters():
        if name.startswith(_LAYER):
            number, rest = name.removeprefix(_LAYER).split(".", 1)
            name = f"{_LAYER}{int(number) + offset}.{rest}"
        elif name == "output_layer.weight":
            name = "embedding.word_embeddings.weight"
        yield name, parameter


def _whole_shape(weight: torch.nn.Parameter) -> list[int]:
    shape = list(weight.shape)
    if _split(weight):
        shape[weight.partition_dim] *= parallel_state.get_tensor_model_parallel_world_size()
    return shape


def _own_part(whole: Tensor, weight: torch.nn.Parameter) -> Tensor:
    if not _split(weight):
        return whole
    ranks = parallel_state.get_tensor_model_parallel_world_size()
    return whole.chunk(ranks, weight.partition_dim)[parallel_state.get_tensor_model_parallel_rank()]


def _split(weight: torch.nn.Parameter) -> bool:
    return bool(getattr(weight, "tensor_model_parallel", False))
