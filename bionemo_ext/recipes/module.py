"""The masked language model as NeMo trains it: model, loss, batches and schedule."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import nemo.lightning as nl
import numpy as np
import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.optimizer import OptimizerConfig
from megatron.core.transformer.transformer_config import TransformerConfig
from nemo.lightning.megatron_parallel import MegatronLossReduction
from nemo.lightning.pytorch.optim import LRSchedulerModule
from torch import Tensor

from bionemo_ext.huggingface import Architecture, State
from bionemo_ext.models.esm1nv import ESM1nvModel
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.folder import load_into
from bionemo_ext.models.packing import Packing
from bionemo_ext.recipes.settings import OptimizerSettings, Schedule

Batch = dict[str, Tensor]


# The loss is summed over a batch's tokens, which scales fp16's gradients already; from Megatron's
# own first scale, 2^32, tens of steps would overflow before one counts.
_FIRST_LOSS_SCALE = 2.0**4

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


class WarmupDecay(LRSchedulerModule):
    """Learning rate from 0 to the peak, then down to the floor on a line or a cosine, then flat."""

    def __init__(self, settings: OptimizerSettings) -> None:
        super().__init__()
        self.settings = settings

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        s = self.settings
        if step < s.warmup_steps:
            return (step + 1) / s.warmup_steps
        done = min(1.0, (step - s.warmup_steps) / max(1, s.decay_steps - s.warmup_steps))
        if s.schedule is Schedule.COSINE:
            done = (1 - math.cos(math.pi * done)) / 2
        floor = s.min_lr / s.lr
        return max(floor, 1 - (1 - floor) * done)

    def scheduler(self, model: Any, optimizer: Any) -> dict[str, Any]:
        """Give Lightning the schedule."""
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "frequency": 1},
        }


def megatron_optimizer(
    settings: OptimizerSettings, *, distributed: bool, dtype: torch.dtype
) -> nl.MegatronOptimizerModule:
    """Build Megatron's Adam; biases and norms take no weight decay."""
    config = OptimizerConfig(
        optimizer="adam",
        lr=settings.lr,
        min_lr=settings.min_lr,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        adam_eps=settings.eps,
        clip_grad=settings.clip,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        initial_loss_scale=_FIRST_LOSS_SCALE,
        params_dtype=dtype,
        use_distributed_optimizer=distributed,
    )
    return nl.MegatronOptimizerModule(config, lr_scheduler=WarmupDecay(settings))


class MaskedLanguageModel(pl.LightningModule):
    """A model with the hooks by which NeMo's Megatron strategy trains it.

    Parameters
    ----------
    architecture : Architecture
        The model.
    config : TransformerConfig
        Megatron's view of it.
    implementation : str
        ``local`` or ``transformer_engine`` layers.
    optimizer : MegatronOptimizerModule
        See :func:`megatron_optimizer`.
    seed : int
        Initial weights, the same under every parallel layout, and dropout.
    weights : dict of Tensor, optional
        A Megatron state to begin from instead.
    """

    def __init__(
        self,
        architecture: Architecture,
        config: TransformerConfig,
        implementation: str,
        optimizer: nl.MegatronOptimizerModule,
        seed: int,
        weights: State | None = None,
    ) -> None:
        super().__init__()
        self.architecture, self.config = architecture, config
        self.implementation, self.seed = implementation, seed
        self.initial_weights = weights
        self.training_totals: list[Tensor] = []
        self.validation_totals: list[Tensor] = []
        self.optim = optimizer
        self.optim.connect(self)

    def configure_model(self) -> None:
        """Build the model once the ranks know their places."""
        if hasattr(self, "module"):
            return
        tensor_parallel.model_parallel_cuda_manual_seed(self.seed)
        kind = ESM2Model if self.architecture.family == "esm2" else ESM1nvModel
        self.module = kind(
            self.architecture,
            self.config,
            self.implementation,
            pre_process=parallel_state.is_pipeline_first_stage(),
            post_process=parallel_state.is_pipeline_last_stage(),
            seed=self.seed,
        )
        if self.initial_weights is not None:
            load_into(self.module, self.initial_weights)
            self.initial_weights = None

    def on_train_start(self) -> None:
        """With fp16, have Megatron scale the loss as its optimizer scales the gradients back."""
        if self.config.fp16:
            optimizer = self.optimizers(use_pl_optimizer=False)
            self.config.grad_scale_func = optimizer.mcore_optimizer.scale_loss

    def on_train_batch_start(self, *_: Any) -> None:
        """Seed dropout by (seed, step, data parallel rank), so that a resumed run repeats it."""
        if not self.architecture.dropout:
            return
        rank = parallel_state.get_data_parallel_rank()
        key = [self.seed, self.trainer.global_step, rank]
        seed = int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)
        torch.manual_seed(seed)
        tensor_parallel.model_parallel_cuda_manual_seed(seed)

    def forward(
        self, tokens: Tensor, attention_mask: Tensor, labels: Tensor | None, packing: Packing | None
    ) -> Tensor:
        """See :meth:`MaskedLM.forward`."""
        return self.module(tokens, attention_mask, labels, packing)

    def data_step(self, batches: Iterator[Any]) -> Batch:
        """Take the next micro-batch to this rank's device."""
        batch, *_ = next(batches)
        device = torch.cuda.current_device()
        return {
            name: tensor if tensor.ndim == 0 else tensor.to(device, non_blocking=True)
            for name, tensor in batch.items()
        }

    def forward_step(self, batch: Batch) -> Tensor:
        """Losses of all tokens, [B, S], on the last pipeline stage."""
        packing = None
        if "offsets" in batch:
            packing = Packing(batch["offsets"], int(batch["longest"]), batch["tokens"].shape[1])
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
