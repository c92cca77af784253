"""The architecture of an ESM-2 model, and how it is told to Megatron-core and transformers."""

from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.transformer.enums import AttnBackend
from megatron.core.transformer.transformer_config import TransformerConfig

from bionemo_ext.errors import CheckpointError, ConfigError
from bionemo_ext.sequences import ESM2

# Megatron pads the vocabulary so that it divides among tensor parallel ranks. One number for
# every TP size up to 128 keeps a checkpoint's tensors the same shape under all of them.
PADDED_VOCABULARY = 128


@dataclass(frozen=True)
class ESM2Config:
    """Architecture of an ESM-2 model; the published sizes are in ``conf/model/``.

    Parameters
    ----------
    layers, hidden, heads : int
        Depth, width and attention heads; ``hidden`` is a multiple of ``heads``.
    ffn : int
        Width of the feed-forward layer; 4 x hidden when 0.
    max_positions : int
        Tokens a sequence may have, ``<cls>`` and ``<eos>`` among them.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int = 0
    max_positions: int = 1024

    def __post_init__(self) -> None:
        if not self.ffn:
            object.__setattr__(self, "ffn", 4 * self.hidden)
        if self.hidden % self.heads:
            raise ConfigError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        if (self.hidden // self.heads) % 2:
            raise ConfigError(
                f"hidden / heads is {self.hidden // self.heads}; rotary positions need it even"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def megatron(
        self,
        *,
        tensor_parallel: int = 1,
        pipeline_parallel: int = 1,
        sequence_parallel: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> TransformerConfig:
        """Build Megatron-core's configuration of this model.

        Every fused kernel stays off that would change the numbers: Megatron's bias-GELU is the
        tanh form, ESM-2 uses the erf form.

        Raises
        ------
        ConfigError
            If the heads or the padded vocabulary do not divide among the ranks.
        """
        if self.heads % tensor_parallel or PADDED_VOCABULARY % tensor_parallel:
            raise ConfigError(
                f"tensor parallel size {tensor_parallel} must divide the {self.heads} attention "
                f"heads and the padded vocabulary of {PADDED_VOCABULARY}"
            )
        if self.layers % pipeline_parallel:
            raise ConfigError(
                f"pipeline parallel size {pipeline_parallel} must divide the {self.layers} layers"
            )
        return TransformerConfig(
            num_layers=self.layers,
            hidden_size=self.hidden,
            num_attention_heads=self.heads,
            ffn_hidden_size=self.ffn,
            layernorm_epsilon=1e-5,
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
            attention_backend=AttnBackend.local,
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

    def huggingface(self) -> dict[str, Any]:
        """``config.json`` of the same model for ``transformers.EsmForMaskedLM``."""
        return {
            "architectures": ["EsmForMaskedLM"],
            "model_type": "esm",
            "vocab_size": len(ESM2),
            "vocab_list": None,
            "mask_token_id": ESM2.mask_id,
            "pad_token_id": ESM2.pad_id,
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "intermediate_size": self.ffn,
            "max_position_embeddings": self.max_positions + 2,
            "position_embedding_type": "rotary",
            "layer_norm_eps": 1e-5,
            "emb_layer_norm_before": False,
            "token_dropout": True,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": 0.02,
            "is_folding_model": False,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            "use_cache": False,
        }

    @classmethod
    def from_huggingface(cls, config: dict[str, Any]) -> "ESM2Config":
        """Read the architecture from a ``config.json``.

        Raises
        ------
        CheckpointError
            If the file describes another kind of model than ESM-2.
        """
        expected = {
            "model_type": "esm",
            "vocab_size": len(ESM2),
            "position_embedding_type": "rotary",
            "token_dropout": True,
            "layer_norm_eps": 1e-5,
        }
        for key, value in expected.items():
            if config.get(key) != value:
                raise CheckpointError(
                    f"config.json is not of an ESM-2 model: {key} is {config.get(key)!r}, "
                    f"{value!r} is needed"
                )
        if config.get("emb_layer_norm_before"):
            raise CheckpointError("config.json is of ESM-1b (emb_layer_norm_before), not of ESM-2")
        try:
            return cls(
                layers=config["num_hidden_layers"],
                hidden=config["hidden_size"],
                heads=config["num_attention_heads"],
                ffn=config["intermediate_size"],
                max_positions=config.get("max_position_embeddings", 1026) - 2,
            )
        except KeyError as error:
            raise CheckpointError(f"config.json has no key {error}") from None
