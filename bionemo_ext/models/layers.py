"""The parts of a transformer layer that Megatron leaves to choose, and the two choices.

``local_spec`` runs anywhere in plain PyTorch; ``transformer_engine_spec`` needs a GPU.
Shapes: S tokens, B sequences, T tokens of all sequences, N heads on this rank, D head width,
H hidden.
"""

from contextlib import nullcontext
from typing import Any

import torch
from megatron.core import tensor_parallel
from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.tensor_parallel.layers import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules
from torch import Tensor
from torch.nn import functional as F

from bionemo_ext.errors import ConfigError


class LayerNorm(torch.nn.LayerNorm):
    """PyTorch's LayerNorm with Megatron's constructor, also under sequence parallelism.

    Under it each rank sees a part of the tokens, so the gradients of weight and bias are summed
    over the tensor parallel ranks; Megatron does so for parameters marked ``sequence_parallel``.
    """

    def __init__(
        self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: object
    ) -> None:
        super().__init__(hidden_size, eps=eps, dtype=config.params_dtype)
        for parameter in (self.weight, self.bias):
            parameter.sequence_parallel = config.sequence_parallel


class LocalAttention(MegatronModule):
    """Core attention by PyTorch's scaled dot product, of padded or of packed sequences.

    When ``record`` is set the weights are computed in the open and kept in ``weights``
    ([B, N, S, S], fp32) for the contact head.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        cp_comm_type: str | None = None,
        pg_collection: ProcessGroupCollection | None = None,
    ) -> None:
        super().__init__(config=config)
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout
        self.scale = softmax_scale or config.kv_channels**-0.5
        self.record = False
        self.weights: Tensor | None = None

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: PackedSeqParams | None = None,
    ) -> Tensor:
        """Attend.

        Parameters
        ----------
        query, key, value : Tensor
            [S, B, N, D]; packed [T, N, D].
        attention_mask : Tensor or None
            [B, 1, 1, S], True at keys that are padding.
        packed_seq_params : PackedSeqParams, optional
            Where each packed sequence begins; a sequence attends to itself alone.

        Returns
        -------
        Tensor
            [S, B, N * D]; packed [T, N * D].
        """
        if packed_seq_params is not None:
            lengths = packed_seq_params.cu_seqlens_q.diff().tolist()
            return self._attend_packed(query, key, value, lengths)
        length, batch, heads, width = query.shape
        query, key, value = (x.permute(1, 2, 0, 3) for x in (query, key, value))
        if self.record:
            context = self._attend_openly(query, key, value, attention_mask)
        else:
            keep = None if attention_mask is None else ~attention_mask
            context = self._attend(query, key, value, keep)
        return context.permute(2, 0, 1, 3).reshape(length, batch, heads * width)

    def _attend_packed(
        self, query: Tensor, key: Tensor, value: Tensor, lengths: list[int]
    ) -> Tensor:
        # Split once and join once: slices would each have a gradient of the whole length.
        parts = [x.transpose(0, 1)[None].split(lengths, 2) for x in (query, key, value)]
        context = torch.cat([self._attend(*row) for row in zip(*parts, strict=True)], 2)
        return context[0].transpose(0, 1).flatten(1)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        with _dropout_state(dropout, self.config.sequence_parallel):
            return F.scaled_dot_product_attention(
                query, key, value, keep, dropout_p=dropout, scale=self.scale
            )

    def _attend_openly(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None
    ) -> Tensor:
        scores = (query * self.scale) @ key.transpose(-1, -2)
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask, torch.finfo(scores.dtype).min)
        self.weights = scores.softmax(-1, dtype=torch.float32)
        return self.weights.to(value.dtype) @ value


def _dropout_state(dropout: float, sequence_parallel: bool) -> Any:
    # Heads are split over the ranks, so each drops from a random state of its own.
    if dropout and not sequence_parallel:
        return tensor_parallel.get_cuda_rng_tracker().fork()
    return nullcontext()


def local_spec(config: TransformerConfig, layers: int) -> TransformerBlockSubmodules:
    """Layers in plain PyTorch and Megatron's parallel linear maps: CPU and GPU, exact.

    Parameters
    ----------
    config : TransformerConfig
        The model's configuration.
    layers : int
        Layers of this pipeline stage.
    """
    layer = ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=LayerNorm,
            self_attention=ModuleSpec(
                module=SelfAttention,
                params={"attn_mask_type": AttnMaskType.padding},
                submodules=SelfAttentionSubmodules(
                    linear_qkv=ColumnParallelLinear,
                    core_attention=LocalAttention,
                    linear_proj=RowParallelLinear,
                    q_layernorm=IdentityOp,
                    k_layernorm=IdentityOp,
                ),
            ),
            self_attn_bda=get_bias_dropout_add,
            pre_mlp_layernorm=LayerNorm,
            mlp=ModuleSpec(
                module=MLP,
                submodules=MLPSubmodules(
                    linear_fc1=ColumnParallelLinear, linear_fc2=RowParallelLinear
                ),
            ),
            mlp_bda=get_bias_dropout_add,
            # A checkpoint names the norms as TransformerEngine's fused layers do, so that one
            # written with either choice of layers is read by the other.
            sharded_state_dict_keys_map={
                "input_layernorm.": "self_attention.linear_qkv.layer_norm_",
                "pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_",
            },
        ),
    )
    return TransformerBlockSubmodules(layer_specs=[layer] * layers, layer_norm=LayerNorm)


def transformer_engine_spec(config: TransformerConfig, layers: int) -> TransformerBlockSubmodules:
    """Layers by TransformerEngine, with FP8 on Hopper.

    The GELU stays Megatron's call of ``config.activation_func``: TransformerEngine's own kernel
    is the tanh form.

    Raises
    ------
    ConfigError
        If TransformerEngine is not installed.
    """
    try:
        from megatron.core.extensions.transformer_engine import (
            TEDotProductAttention,
            TELayerNormColumnParallelLinear,
            TENorm,
            TERowParallelLinear,
        )
    except ImportError:
        raise ConfigError(
            "layers: transformer_engine needs TransformerEngine and a GPU; "
            "layers: local runs anywhere"
        ) from None
    layer = ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            self_attention=ModuleSpec(
                module=SelfAttention,
                params={"attn_mask_type": AttnMaskType.padding},
                submodules=SelfAttentionSubmodules(
                    linear_qkv=TELayerNormColumnParallelLinear,
                    core_attention=TEDotProductAttention,
                    linear_proj=TERowParallelLinear,
                    q_layernorm=IdentityOp,
                    k_layernorm=IdentityOp,
                ),
            ),
            self_attn_bda=get_bias_dropout_add,
            mlp=ModuleSpec(
                module=MLP,
                submodules=MLPSubmodules(
                    linear_fc1=TELayerNormColumnParallelLinear, linear_fc2=TERowParallelLinear
                ),
            ),
            mlp_bda=get_bias_dropout_add,
        ),
    )
    return TransformerBlockSubmodules(layer_specs=[layer] * layers, layer_norm=TENorm)


SPECS = {"local": local_spec, "transformer_engine": transformer_engine_spec}
