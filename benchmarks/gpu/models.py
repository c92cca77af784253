"""The models that are measured, by the names of ``conf/model``, and their number formats."""

from dataclasses import dataclass

import torch
import yaml
from torch import Tensor

from bionemo_ext.huggingface import Architecture, State, model_config
from bionemo_ext.models.config import megatron_config
from bionemo_ext.models.convert import fused_name, megatron_names
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.resources import resource

_TINY = {"layers": 2, "hidden": 64, "heads": 4}


@dataclass(frozen=True)
class Precision:
    """A number format: of weights and activations, and of the matrix products."""

    name: str
    dtype: torch.dtype
    fp8: str = "off"


FP32 = Precision("fp32", torch.float32)
BF16 = Precision("bf16", torch.bfloat16)
FP8 = tuple(
    Precision(f"fp8_{recipe}", torch.bfloat16, recipe)
    for recipe in ("delayed", "current", "blockwise")
)


def architecture(name: str) -> Architecture:
    """Read a model's shape."""
    if name == "tiny":
        return model_config("esm2", _TINY)
    values = yaml.safe_load((resource("conf") / "model" / f"{name}.yaml").read_text())
    values.pop("name")
    return model_config(values.pop("family", "esm2"), values)


def build(
    name: str, precision: Precision, layers: str, device: torch.device, recompute: str = "none"
) -> ESM2Model:
    """Build a model with the initial weights of seed 0, in training mode."""
    shape = architecture(name)
    config = megatron_config(
        shape, layers=layers, dtype=precision.dtype, fp8=precision.fp8, recompute=recompute
    )
    return ESM2Model(shape, config, layers).to(device).train()


def weights(model: ESM2Model) -> State:
    """The weights under a Megatron state's names, whichever layers the model has."""
    plain = {fused_name(name): name for name in megatron_names(model.architecture)}
    return {plain[fused_name(name)]: p.detach() for name, p in model.named_parameters()}


def gradients(model: ESM2Model) -> State:
    """The gradients in fp32, under a Megatron state's names."""
    plain = {fused_name(name): name for name in megatron_names(model.architecture)}
    return {
        plain[fused_name(name)]: p.grad.float()
        for name, p in model.named_parameters()
        if p.grad is not None
    }


@torch.no_grad()
def unsettle(model: ESM2Model) -> None:
    """Move the weights away from the initial ones, so that an error anywhere shows.

    Biases and norms become different from 0 and 1, attention uneven, and the residues visible
    through the biases; all of it to numbers that bf16 holds exactly.
    """
    generator = torch.Generator(next(model.parameters()).device).manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            weight.add_(0.1 * _normal(weight, generator))
        elif "word_embeddings" in name:
            weight.mul_(10)
        elif "linear_qkv" in name:
            heads = weight.unflatten(0, (model.architecture.heads, 3, -1))
            heads[:, :2].mul_(3)
        weight.copy_(weight.bfloat16())


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
