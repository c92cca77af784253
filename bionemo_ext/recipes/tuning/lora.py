"""NeMo's LoRA on an encoder's linear maps."""

from types import SimpleNamespace
from typing import Any

import torch
from nemo.collections.llm.fn.base import walk
from nemo.collections.llm.peft import lora as nemo_lora
from nemo.collections.llm.peft import utils as nemo_utils
from torch import Tensor

from bionemo_ext.models.adapters import initialise_adapters
from bionemo_ext.models.masked_lm import MaskedLM
from bionemo_ext.recipes.finetune.settings import LoraSettings

if not nemo_lora.HAVE_TE:
    # NeMo compares layers with TransformerEngine's without asking whether they are there: with its
    # own, and with Megatron's, whose module can be imported all the same.
    nemo_lora.te = SimpleNamespace(Linear=None)
    nemo_utils.HAVE_TE = False


def add_adapters(encoder: MaskedLM, settings: LoraSettings, seed: int) -> None:
    """Freeze an encoder and put an adapter beside each of the linear maps that are named.

    Parameters
    ----------
    encoder : MaskedLM
        With the weights that stay.
    settings : LoraSettings
        Rank, alpha, dropout and the linear maps.
    seed : int
        First weights, the same under every tensor parallel size.
    """
    encoder.requires_grad_(False)
    lora = nemo_lora.LoRA(
        target_modules=list(settings.targets),
        dim=settings.rank,
        alpha=settings.alpha,
        dropout=settings.dropout,
    )
    walk(encoder, lora.transform)
    for wrapped in encoder.modules():
        if isinstance(wrapped, nemo_lora.LoRALinear):
            # By this name NeMo's checkpoints would take an MLP's first map for a gated one.
            wrapped.adapter.base_linear_name = ""
    initialise_adapters(encoder, seed)
    # Recomputed layers have a gradient only if their input has one, and the embedding is frozen.
    encoder.embedding.register_forward_hook(_ask_for_gradient)


def _ask_for_gradient(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
    if torch.is_grad_enabled():
        output.requires_grad_()
