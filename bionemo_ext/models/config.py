"""An ESM-2 architecture as Megatron-core is told of it."""

import torch
from megatron.core.transformer.enums import AttnBackend
from megatron.core.transformer.transformer_config import TransformerConfig

from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import ESM2Config

# Megatron pads the vocabulary so that it divides among tensor parallel ranks. One number for
# every TP size up to 128 keeps a checkpoint's tensors the same shape under all of them.
PADDED_VOCABULARY = 128


def megatron_config(
    config: ESM2Config,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    sequence_parallel: bool = False,
    layers: str = "local",
    dtype: torch.dtype = torch.float32,
) -> TransformerConfig:
    """Build Megatron-core's configuration of a model.

    Every fused kernel stays off that would change the numbers: Megatron's bias-GELU is the
    tanh form, ESM-2 uses the erf form.

    Parameters
    ----------
    config : ESM2Config
        The architecture.
    tensor_parallel, pipeline_parallel : int
        Ranks that share a layer, and stages of layers.
    sequence_parallel : bool
        Whether tensor parallel ranks also share the tokens between the layers' matrix products.
    layers : str
        ``local`` or ``transformer_engine``, as in :class:`bionemo_ext.models.esm2.ESM2Model`.
    dtype : torch.dtype
        Of weights and activations.

    Raises
    ------
    ConfigError
        If the heads or the padded vocabulary do not divide among the ranks.
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
    return TransformerConfig(
        num_layers=config.layers,
        hidden_size=config.hidden,
        num_attention_heads=config.heads,
        ffn_hidden_size=config.ffn,
        layernorm_epsilon=config.norm_epsilon,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        add_bias_linear=True,
        activation_func=torch.nn.functional.gelu,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        gradient_accumulation_fusion=False,
        persist_layer_norm=False,
        apply_rope_fusion=False,
        attention_softmax_in_fp32=True,
        # ``local`` tells TransformerEngine to use none of its kernels.
        attention_backend=AttnBackend.local if layers == "local" else AttnBackend.auto,
        use_cpu_initialization=True,
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
    )
