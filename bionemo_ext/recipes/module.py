"""The masked language model as NeMo trains it: model, loss and what is counted."""

import math
from collections.abc import Mapping, Sequence

import nemo.lightning as nl
import torch
from megatron.core import parallel_state
from megatron.core.transformer.transformer_config import TransformerConfig
from nemo.lightning.megatron_parallel import MegatronLossReduction
from torch import Tensor

from bionemo_ext.huggingface import Architecture, State
from bionemo_ext.models.packing import Packing
from bionemo_ext.recipes.trained_model import Batch, TrainedModel, packing_of

# What is counted of every micro-batch, in this order.
COUNTED = ("loss_sum", "chosen", "tokens", "padded", "squared_lengths")


class TokenLoss(MegatronLossReduction):
    """Sum of the losses of the chosen tokens, and their number.

    Megatron divides the gradients by the number over the whole global batch, so the result does
    not depend on how the batch is cut into micro-batches and ranks.

    Parameters
    ----------
    totals : list of Tensor
        Of each step what :data:`COUNTED` names, over all data parallel ranks, is appended here.
    """

    def __init__(self, totals: list[Tensor]) -> None:
        super().__init__()
        self.totals = totals

    def forward(self, batch: Batch, losses: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Reduce one micro-batch: losses [B, S] to their sum and count."""
        loss_sum = (losses.float() * batch["loss_mask"]).sum()
        count = batch["loss_mask"].sum()
        counted = (
            loss_sum.detach(),
            count,
            batch["attention_mask"].sum(),
            torch.full_like(count, batch["attention_mask"].numel()),
            _squared_lengths(batch),
        )
        totals = torch.stack([number.double() for number in counted])
        return loss_sum, count.to(torch.int), {"totals": totals}

    def reduce(self, microbatches: Sequence[dict[str, Tensor]]) -> Tensor:
        """Mean loss over the global batch, of all data parallel ranks."""
        totals = torch.stack([m["totals"] for m in microbatches]).sum(0)
        torch.distributed.all_reduce(totals, group=parallel_state.get_data_parallel_group())
        self.totals.append(totals)
        return (totals[0] / totals[1].clamp(min=1)).float()


def _squared_lengths(batch: Batch) -> Tensor:
    """Sum of the squared lengths of the sequences, which attention's work grows with."""
    if "offsets" in batch:
        return batch["offsets"].diff().double().square().sum()
    return batch["attention_mask"].sum(-1).double().square().sum()


class MaskedLanguageModel(TrainedModel):
    """A model that NeMo trains by masked language modelling; see :class:`TrainedModel`."""

    def __init__(
        self,
        architecture: Architecture,
        config: TransformerConfig,
        implementation: str,
        optimizer: nl.MegatronOptimizerModule,
        seed: int,
        weights: State | None = None,
    ) -> None:
        super().__init__(architecture, config, implementation, optimizer, seed, weights)
        self.training_totals: list[Tensor] = []
        self.validation_totals: list[Tensor] = []

    def configure_model(self) -> None:
        """Build the model once the ranks know their places."""
        if not hasattr(self, "module"):
            self.module = self.build()

    def forward(
        self, tokens: Tensor, attention_mask: Tensor, labels: Tensor | None, packing: Packing | None
    ) -> Tensor:
        """See :meth:`MaskedLM.forward`."""
        return self.module(tokens, attention_mask, labels, packing)

    def forward_step(self, batch: Batch) -> Tensor:
        """Losses of all tokens, [B, S], on the last pipeline stage."""
        packing = packing_of(batch)
        return self(batch["tokens"], batch["attention_mask"], batch["labels"], packing)

    def training_step(self, batch: Batch, batch_idx: int | None = None) -> Tensor:
        """Same as :meth:`forward_step`."""
        return self.forward_step(batch)

    def validation_step(self, batch: Batch, batch_idx: int | None = None) -> Tensor:
        """Same as :meth:`forward_step`."""
        return self.forward_step(batch)

    def training_loss_reduction(self) -> TokenLoss:
        """How NeMo reduces a training batch."""
        return TokenLoss(self.training_totals)

    def validation_loss_reduction(self) -> TokenLoss:
        """How NeMo reduces a validation batch."""
        return TokenLoss(self.validation_totals)

    def training_counts(self) -> dict[str, float]:
        """What :data:`COUNTED` names, over all ranks, since the last call; every rank must ask."""
        return _sum_up(self.training_totals)

    def validation_loss(self) -> float:
        """Mean loss of all chosen validation tokens since the last call; every rank must ask."""
        return mean_loss(_sum_up(self.validation_totals))


def mean_loss(counts: Mapping[str, float]) -> float:
    """Mean loss of what :data:`COUNTED` names; not a number where no token was chosen.

    So it is of a few peptides that are too short for 15% of them to be one residue.
    """
    return counts["loss_sum"] / (counts["chosen"] or math.nan)


def _sum_up(totals: list[Tensor]) -> dict[str, float]:
    # Only the last pipeline stage has losses; the others are told.
    device = torch.cuda.current_device()
    total = torch.zeros(len(COUNTED), dtype=torch.float64, device=device)
    if totals:
        total += torch.stack(totals).sum(0)
        totals.clear()
    if parallel_state.get_pipeline_model_parallel_world_size() > 1:
        torch.distributed.broadcast(
            total,
            parallel_state.get_pipeline_model_parallel_last_rank(),
            group=parallel_state.get_pipeline_model_parallel_group(),
        )
    return dict(zip(COUNTED, total.tolist(), strict=True))
