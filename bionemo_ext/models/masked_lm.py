"""What ESM-2 and ESM-1nv share: an encoder and a masked language model head on Megatron-core.

Tensor, sequence and pipeline parallel; padded or packed. Shapes: B sequences, S tokens (all
sequences' tokens and B = 1 when packed), H hidden, V padded vocabulary.
"""

from abc import abstractmethod

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.enums import ModelType
from megatron.core.models.common.embeddings.language_model_embedding import LanguageModelEmbedding
from megatron.core.models.common.language_module.language_module import LanguageModule
from megatron.core.transformer.transformer_block import TransformerBlock, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from bionemo_ext.huggingface import Architecture
from bionemo_ext.models.config import PADDED_VOCABULARY
from bionemo_ext.models.heads import LMHead
from bionemo_ext.models.initialise import initialise
from bionemo_ext.models.layers import SPECS
from bionemo_ext.models.packing import Packing
from bionemo_ext.sequences import Alphabet


class MaskedLM(LanguageModule):
    """A model for masked language modelling.

    Parameters
    ----------
    architecture : Architecture
        Depth and width.
    config : TransformerConfig
        Megatron's view of the same, from :func:`bionemo_ext.models.config.megatron_config`.
    layers : str
        ``local`` (plain PyTorch, CPU or GPU) or ``transformer_engine``.
    pre_process, post_process : bool
        Whether this pipeline stage holds the embedding and the heads.
    seed : int
        Initial weights, the same under every parallel layout.
    """

    alphabet: Alphabet
    position_embedding: str  # as Megatron's embedding calls it

    def __init__(
        self,
        architecture: Architecture,
        config: TransformerConfig,
        layers: str = "local",
        pre_process: bool = True,
        post_process: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(config=config)
        self.architecture = architecture
        self.pre_process, self.post_process = pre_process, post_process
        self.share_embeddings_and_output_weights = True
        self.model_type = ModelType.encoder_or_decoder
        if pre_process:
            self.embedding = LanguageModelEmbedding(
                config, PADDED_VOCABULARY, architecture.max_positions, self.position_embedding
            )
        spec = SPECS[layers](config, get_num_layers_to_build(config))
        self.encoder = TransformerBlock(
            config, spec, pre_process=pre_process, post_process=post_process
        )
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
        self.build_more(config)
        initialise(self, config, seed)
        self.setup_embeddings_and_output_layer()

    @abstractmethod
    def build_more(self, config: TransformerConfig) -> None:
        """Add the parts that this model alone has."""

    @abstractmethod
    def embed(self, tokens: Tensor, attention_mask: Tensor, packing: Packing | None) -> Tensor:
        """Hidden states before the first layer, [S, B, H] ([S / TP, B, H] sequence parallel)."""

    @abstractmethod
    def rotary(self, tokens: Tensor, packing: Packing | None) -> Tensor | None:
        """Angles by which the layers turn queries and keys, if the model's positions are rotary."""

    def set_input_tensor(self, input_tensor: Tensor | list[Tensor]) -> None:
        """Take the hidden states of the pipeline stage before."""
        tensors = input_tensor if isinstance(input_tensor, list) else [input_tensor]
        self.encoder.set_input_tensor(tensors[0])

    def forward(
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """Run the model.

        Parameters
        ----------
        tokens, attention_mask : Tensor
            [B, S]; the mask is 1 at tokens and 0 at padding.
        labels : Tensor, optional
            [B, S] ids of the true tokens.
        packing : Packing, optional
            Says that the only row of ``tokens`` is many sequences.

        Returns
        -------
        Tensor
            Without labels logits [B, S, V / TP], the padded part of the vocabulary at the lowest
            finite number; with labels the loss of each token, [B, S]. On a pipeline stage that is
            not the last, hidden states.
        """
        hidden = self.encode(tokens, attention_mask, packing)
        if not self.post_process:
            return hidden
        weight = self.shared_embedding_or_output_weight()
        logits, _ = self.output_layer(self.lm_head(hidden), weight=weight)
        logits = self._close_padding(logits)
        if labels is None:
            return logits.transpose(0, 1).contiguous()
        return self.compute_language_model_loss(labels, logits.float())

    def encode(
        self, tokens: Tensor, attention_mask: Tensor, packing: Packing | None = None
    ) -> Tensor:
        """Hidden states after this stage's layers, [S, B, H] ([S / TP, B, H] sequence parallel)."""
        hidden = self.embed(tokens, attention_mask, packing) if self.pre_process else None
        padding = None if packing else ~attention_mask.bool()[:, None, None, :]
        return self.encoder(
            hidden_states=hidden,
            attention_mask=padding,
            rotary_pos_emb=self.rotary(tokens, packing),
            packed_seq_params=packing.megatron() if packing else None,
        )

    def _close_padding(self, logits: Tensor) -> Tensor:
        first = parallel_state.get_tensor_model_parallel_rank() * logits.shape[-1]
        columns = torch.arange(first, first + logits.shape[-1], device=logits.device)
        return logits.masked_fill(columns >= len(self.alphabet), torch.finfo(logits.dtype).min)
