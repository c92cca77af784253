"""ESM-1nv as a Megatron-core model.

NVIDIA's 44M-parameter BERT for proteins: learned absolute positions, dropout, tanh GELU in the MLP
and erf GELU in the language model head, no token dropout. Shapes: B sequences, S tokens (all
sequences' tokens and B = 1 when packed), H hidden.
"""

import torch
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from bionemo_ext.models.masked_lm import MaskedLM
from bionemo_ext.models.packing import Packing
from bionemo_ext.sequences import ESM1NV


class ESM1nvModel(MaskedLM):
    """ESM-1nv for masked language modelling."""

    alphabet = ESM1NV
    position_embedding = "learned_absolute"

    def build_more(self, config: TransformerConfig) -> None:
        """Hold the positions in the weights' precision, which Megatron leaves at fp32."""
        if self.pre_process:
            self.embedding.position_embeddings.to(config.params_dtype)

    def embed(self, tokens: Tensor, attention_mask: Tensor, packing: Packing | None) -> Tensor:
        """Add the embeddings of tokens and positions."""
        if packing is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        else:
            positions = packing.positions
        return self.embedding(tokens, positions.expand_as(tokens))

    def rotary(self, tokens: Tensor, packing: Packing | None) -> None:
        """Nothing is turned: positions were added to the embedding."""
        return None
