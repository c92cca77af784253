"""ESM-2 as a Megatron-core model: tensor, sequence and pipeline parallel.

Lin et al., 2023, "Evolutionary-scale prediction of atomic-level protein structure with a language
model". Shapes: B sequences, S tokens, H hidden, V padded vocabulary.
"""

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.enums import ModelType
from megatron.core.models.common.embeddings.language_model_embedding import LanguageModelEmbedding
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.models.common.language_module.language_module import LanguageModule
from megatron.core.transformer.transformer_block import TransformerBlock, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.models.config import PADDED_VOCABULARY
from bionemo_ext.models.heads import ContactHead, LMHead
from bionemo_ext.models.layers import SPECS, LocalAttention
from bionemo_ext.sequences import ESM2

# Share of tokens that were <mask> when ESM-2 was trained: 15% chosen, 80% of these masked.
_TRAINING_MASK_RATIO = 0.15 * 0.8


def token_dropout_scale(tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """Factor of each token's embedding, [B, S] in fp32.

    0 at ``<mask>`` and padding; elsewhere (1 - .12) / (1 - share of ``<mask>`` in the sequence),
    also without any mask, as ESM-2 was trained.
    """
    masked = tokens == ESM2.mask_id
    observed = masked.sum(-1, keepdim=True).float() / attention_mask.sum(-1, keepdim=True)
    scale = (1 - _TRAINING_MASK_RATIO) / (1 - observed)
    return (scale * ~masked * attention_mask).float()


class ESM2Model(LanguageModule):
    """ESM-2 for masked language modelling.

    Parameters
    ----------
    architecture : ESM2Config
        Depth and width.
    config : TransformerConfig
        Megatron's view of the same, from :func:`bionemo_ext.models.config.megatron_config`.
    layers : str
        ``local`` (plain PyTorch, CPU or GPU) or ``transformer_engine``.
    pre_process, post_process : bool
        Whether this pipeline stage holds the embedding and the heads.
    """

    def __init__(
        self,
        architecture: ESM2Config,
        config: TransformerConfig,
        layers: str = "local",
        pre_process: bool = True,
        post_process: bool = True,
    ) -> None:
        super().__init__(config=config)
        self.architecture = architecture
        self.pre_process, self.post_process = pre_process, post_process
        self.share_embeddings_and_output_weights = True
        self.model_type = ModelType.encoder_or_decoder
        if pre_process:
            self.embedding = LanguageModelEmbedding(
                config, PADDED_VOCABULARY, architecture.max_positions, "none"
            )
        self.rotary_pos_emb = RotaryEmbedding(
            architecture.head_dim, rotary_percent=1.0, use_cpu_initialization=True
        )
        spec = SPECS[layers](config, get_num_layers_to_build(config))
        self.encoder = TransformerBlock(config, spec, pre_process=pre_process)
        if post_process:
            self.lm_head = LMHead(config)
            self.output_layer = tensor_parallel.ColumnParallelLinear(
                config.hidden_size,
                PADDED_VOCABULARY,
                config=config,
                init_method=config.init_method,
                bias=True,
                gather_output=False,
                skip_weight_param_allocation=pre_process,
            )
            self.contact_head = ContactHead(config)
        self.setup_embeddings_and_output_layer()

    def set_input_tensor(self, input_tensor: Tensor | list[Tensor]) -> None:
        """Take the hidden states of the pipeline stage before."""
        tensors = input_tensor if isinstance(input_tensor, list) else [input_tensor]
        self.encoder.set_input_tensor(tensors[0])

    def forward(
        self, tokens: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Run the model.

        Parameters
        ----------
        tokens, attention_mask : Tensor
            [B, S]; the mask is 1 at tokens and 0 at padding.
        labels : Tensor, optional
            [B, S] ids of the true tokens.

        Returns
        -------
        Tensor
            Without labels logits [B, S, V / TP], the padded part of the vocabulary at the lowest
            finite number; with labels the loss of each token, [B, S]. On a pipeline stage that is
            not the last, hidden states.
        """
        hidden = self.encode(tokens, attention_mask)
        if not self.post_process:
            return hidden
        weight = self.shared_embedding_or_output_weight()
        logits, _ = self.output_layer(self.lm_head(hidden), weight=weight)
        logits = self._close_padding(logits)
        if labels is None:
            return logits.transpose(0, 1).contiguous()
        return self.compute_language_model_loss(labels, logits.float())

    def encode(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states after this stage's layers, [S, B, H] ([S / TP, B, H] sequence parallel)."""
        hidden = self._embed(tokens, attention_mask) if self.pre_process else None
        return self.encoder(
            hidden_states=hidden,
            attention_mask=~attention_mask.bool()[:, None, None, :],
            rotary_pos_emb=self.rotary_pos_emb(tokens.shape[1]),
        )

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

    def _embed(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embedding(tokens, None)
        scale = token_dropout_scale(tokens, attention_mask).transpose(0, 1)[..., None]
        if self.config.sequence_parallel:
            scale = tensor_parallel.scatter_to_sequence_parallel_region(scale)
        return (hidden.float() * scale).to(hidden.dtype)

    def _close_padding(self, logits: Tensor) -> Tensor:
        first = parallel_state.get_tensor_model_parallel_rank() * logits.shape[-1]
        columns = torch.arange(first, first + logits.shape[-1], device=logits.device)
        return logits.masked_fill(columns >= len(ESM2), torch.finfo(logits.dtype).min)
