"""What stands on top of an encoder: the masked language model head and the contact head."""

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn import functional as F

from bionemo_ext.models.layers import LayerNorm
from bionemo_ext.sequences import ESM2


class LMHead(torch.nn.Module):
    """Dense, erf GELU and LayerNorm before the decoder that is tied to the embedding."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(
            config.hidden_size, config.hidden_size, dtype=config.params_dtype
        )
        torch.nn.init.zeros_(self.dense.bias)
        for parameter in self.dense.parameters():
            parameter.sequence_parallel = config.sequence_parallel
        self.layer_norm = LayerNorm(config, config.hidden_size, config.layernorm_epsilon)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map [S, B, H] to [S, B, H]."""
        return self.layer_norm(F.gelu(self.dense(hidden)))


class ContactHead(torch.nn.Module):
    """Contacts from attention maps by logistic regression.

    The maps of all layers and heads are symmetrised, corrected by the average product (APC) and
    weighted (Rao et al., 2021, "Transformer protein language models are unsupervised structure
    learners"). Each tensor parallel rank holds the maps of its own heads. The weights are not
    trained by the language model's loss and take no part in its optimizer.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers, self.heads = config.num_layers, config.num_attention_heads
        self.weight = torch.nn.Parameter(
            torch.zeros(self.layers * self.heads, dtype=torch.float32), requires_grad=False
        )
        self.bias = torch.nn.Parameter(torch.zeros(1, dtype=torch.float32), requires_grad=False)

    def forward(self, tokens: Tensor, attention_mask: Tensor, weights: list[Tensor]) -> Tensor:
        """Compute contact probabilities.

        Parameters
        ----------
        tokens : Tensor
            [B, S], each row ``<cls>`` ... ``<eos>`` and padding.
        attention_mask : Tensor
            [B, S], 1 at tokens.
        weights : list of Tensor
            A layer's attention maps of this rank's heads, [B, N, S, S].

        Returns
        -------
        Tensor
            [B, S - 2, S - 2]; rows and columns of padding have no meaning.
        """
        rank = parallel_state.get_tensor_model_parallel_rank()
        local = weights[0].shape[1]
        coefficients = self.weight.view(self.layers, self.heads)
        coefficients = coefficients[:, rank * local : (rank + 1) * local]
        keep = (attention_mask.bool() & (tokens != ESM2.eos_id)).float()
        pairs = (keep[:, :, None] * keep[:, None, :])[:, None]
        logits = torch.zeros_like(pairs[:, 0, 1:-1, 1:-1])
        for maps, row in zip(weights, coefficients, strict=True):
            maps = (maps * pairs)[..., 1:-1, 1:-1]
            logits = logits + torch.einsum("bnij,n->bij", _apc(maps + maps.mT), row)
        logits = tensor_parallel.reduce_from_tensor_model_parallel_region(logits)
        return torch.sigmoid(logits + self.bias)


def _apc(maps: Tensor) -> Tensor:
    """Average product correction of maps [..., i, j] (Dunn et al., 2008)."""
    rows, columns = maps.sum(-1, keepdim=True), maps.sum(-2, keepdim=True)
    return maps - rows * columns / maps.sum((-1, -2), keepdim=True)
