"""ESM-2 as a Megatron-core model.

Lin et al., 2023, "Evolutionary-scale prediction of atomic-level protein structure with a language
model". Shapes: B sequences, S tokens (all sequences' tokens and B = 1 when packed), H hidden.
"""

from megatron.core import tensor_parallel
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from bionemo_ext.errors import ConfigError
from bionemo_ext.models.heads import ContactHead
from bionemo_ext.models.layers import LocalAttention
from bionemo_ext.models.masked_lm import MaskedLM
from bionemo_ext.models.packing import Packing
from bionemo_ext.sequences import ESM2

# Share of tokens that were <mask> when ESM-2 was trained: 15% chosen, 80% of these masked.
_TRAINING_MASK_RATIO = 0.15 * 0.8


def token_dropout_scale(
    tokens: Tensor, attention_mask: Tensor, packing: Packing | None = None
) -> Tensor:
    """Factor of each token's embedding, [B, S] in fp32.

    0 at ``<mask>`` and padding; elsewhere (1 - .12) / (1 - share of ``<mask>`` in the sequence),
    also without any mask, as ESM-2 was trained.
    """
    masked = tokens == ESM2.mask_id
    if packing is None:
        observed = masked.sum(-1, keepdim=True).float() / attention_mask.sum(-1, keepdim=True)
    else:
        counts = packing.sums(masked[0]).float() / packing.offsets.diff()
        observed = packing.spread(counts)[None]
    scale = (1 - _TRAINING_MASK_RATIO) / (1 - observed)
    return (scale * ~masked * attention_mask).float()


class ESM2Model(MaskedLM):
    """ESM-2 for masked language modelling: rotary positions, token dropout, contacts."""

    alphabet = ESM2
    position_embedding = "none"

    def build_more(self, config: TransformerConfig) -> None:
        """Add rotary angles and, where the layers end, the contact head."""
        self.rotary_pos_emb = RotaryEmbedding(
            self.architecture.head_dim, rotary_percent=1.0, use_cpu_initialization=True
        )
        if self.post_process:
            self.contact_head = ContactHead(config)

    def embed(self, tokens: Tensor, attention_mask: Tensor, packing: Packing | None) -> Tensor:
        """Embed tokens, scaled as :func:`token_dropout_scale` says."""
        hidden = self.embedding(tokens, None)
        scale = token_dropout_scale(tokens, attention_mask, packing).transpose(0, 1)[..., None]
        if self.config.sequence_parallel:
            scale = tensor_parallel.scatter_to_sequence_parallel_region(scale)
        return (hidden.float() * scale).to(hidden.dtype)

    def rotary(self, tokens: Tensor, packing: Packing | None) -> Tensor:
        """Angles over the whole head; of packed sequences each token's own."""
        if packing is None:
            return self.rotary_pos_emb(tokens.shape[1])
        angles = self.rotary_pos_emb(packing.longest)
        # Megatron's plain rotation takes angles of all T tokens as they are; TransformerEngine's
        # kernel takes those of the longest sequence and finds the positions itself.
        return angles if self.config.apply_rope_fusion else angles[packing.positions]

    def contacts(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Contact probabilities, [B, S - 2, S - 2].

        Raises
        ------
        ConfigError
            If the layers do not show their attention maps or sit on several pipeline stages.
        """
        attentions = [m for m in self.encoder.modules() if isinstance(m, LocalAttention)]
        if len(attentions) != self.architecture.layers:
            raise ConfigError("contacts need layers: local and pipeline parallel size 1")
        for attention in attentions:
            attention.record = True
        try:
            self.encode(tokens, attention_mask)
            return self.contact_head(tokens, attention_mask, [a.weights for a in attentions])
        finally:
            for attention in attentions:
                attention.record, attention.weights = False, None
