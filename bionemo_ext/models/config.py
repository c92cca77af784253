"""An architecture as Megatron-core is told of it."""

from functools import partial
from typing import Any

import torch
from megatron.core.transformer.enums import AttnBackend
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import Architecture

# Megatron pads the vocabulary so that it divides among tensor parallel ranks. One number for
# every TP size up to 128 keeps a checkpoint's tensors the same shape under all of them.
PADDED_VOCABULARY = 128


# FP8 recipes by our names and Megatron's; its amax history is the length that NVIDIA trains with.
_FP8_RECIPES = {"delayed": "delayed", "current": "tensorwise", "blockwise": "blockwise"}
_AMAX_HISTORY = 1024


def megatron_config(
    config: Architecture,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    sequence_parallel: bool = False,
    layers: str = "local",
    dtype: torch.dtype = torch.float32,
    fp8: str = "off",
    bf16_ends: tuple[int, int] = (0, 0),
    recompute: str = "none",
) -> TransformerConfig:
    """Build Megatron-core's configuration of a model.

    Every fused kernel stays off that would change the numbers: Megatron's bias-GELU is the
    tanh form, ESM-2 uses the erf form.

    Parameters
    ----------
    config : Architecture
        The model.
    tensor_parallel, pipeline_parallel : int
        Ranks that share a layer, and stages of layers.
    sequence_parallel : bool
        Whether tensor parallel ranks also share the tokens between the layers' matrix products.
    layers : str
        ``local`` or ``transformer_engine``, as in :data:`bionemo_ext.models.layers.SPECS`.
    dtype : torch.dtype
        Of weights and activations.
    fp8 : str
        ``off``, ``delayed``, ``current`` or ``blockwise``: how TransformerEngine chooses scales.
    bf16_ends : tuple of int
        With FP8, how many of the first and of the last layers stay in bf16.
    recompute : str
        ``none``; ``selective``, the core attention; ``full``, every layer from its input.

    Raises
    ------
    ConfigError
        If the heads or the padded vocabulary do not divide among the ranks, the layers among the
        stages, or layers at the ends are to stay in bf16 under delayed scaling.
    """
    if config.heads % tensor_parallel or PADDED_VOCABULARY % tensor_parallel:
        raise ConfigError(
            f"tensor parallel size {tensor_parallel} must divide the {config.heads} attention "
            f"heads and the padded vocabulary of {PADDED_VOCABULARY}"
        )
    if config.layers % pipeline_parallel:
        raise ConfigError(
            f"pipeline parallel size {pipeline_parallel} must divide the {config.layers} layers"
        )
    gelu = torch.nn.functional.gelu
    return TransformerConfig(
        num_layers=config.layers,
        hidden_size=config.hidden,
        num_attention_heads=config.heads,
        ffn_hidden_size=config.ffn,
        layernorm_epsilon=config.norm_epsilon,
        hidden_dropout=config.dropout,
        attention_dropout=config.dropout,
        add_bias_linear=True,
        activation_func=gelu if config.family == "esm2" else partial(gelu, approximate="tanh"),
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        gradient_accumulation_fusion=False,
        persist_layer_norm=False,
        # TransformerEngine's kernel takes packed sequences as they are; the plain one is exact.
        apply_rope_fusion=layers == "transformer_engine",
        attention_softmax_in_fp32=True,
        # Megatron writes the choice into the environment and refuses another one in the same
        # process, so local layers, which never ask TransformerEngine, do not choose otherwise.
        attention_backend=AttnBackend.auto,
        # models.initialise fills the weights in, alike under every layout.
        init_method=_leave,
        output_layer_init_method=_leave,
        embedding_init_method=_leave,
        use_cpu_initialization=not torch.cuda.is_available(),
        variable_seq_lengths=True,
        moe_token_dispatcher_type="alltoall",  # noqa: S106  (the default refuses variable lengths)
        calculate_per_token_loss=True,
        tensor_model_parallel_size=tensor_parallel,
        pipeline_model_parallel_size=pipeline_parallel,
        sequence_parallel=sequence_parallel,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        **_fp8(fp8, bf16_ends),
        **_recompute(recompute),
    )


def _leave(weight: Tensor) -> Tensor:
    return weight


def _fp8(recipe: str, bf16_ends: tuple[int, int]) -> dict[str, Any]:
    if recipe == "off":
        return {}
    first, last = bf16_ends
    if recipe == "delayed" and (first or last):
        raise ConfigError(
            "fp8: delayed scales all layers together and cannot keep some in bf16; choose current "
            "or blockwise, or 0 layers at both ends"
        )
    return {
        "fp8": "hybrid",  # e4m3 forward, e5m2 gradients
        "fp8_recipe": _FP8_RECIPES[recipe],
        "fp8_amax_history_len": _AMAX_HISTORY,
        "fp8_amax_compute_algo": "max",
        "first_last_layers_bf16": bool(first or last),
        "num_layers_at_start_in_bf16": first,
        "num_layers_at_end_in_bf16": last,
    }


def _recompute(kind: str) -> dict[str, Any]:
    if kind == "full":
        return {
            "recompute_granularity": "full",
            "recompute_method": "uniform",
            "recompute_num_layers": 1,
        }
    if kind == "selective":
        return {"recompute_granularity": "selective", "recompute_modules": ["core_attn"]}
    return {}
