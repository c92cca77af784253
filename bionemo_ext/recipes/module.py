"""The masked language model as NeMo trains it: model, loss, batches and schedule."""

from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import nemo.lightning as nl
import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.optimizer import OptimizerConfig
from megatron.core.transformer.transformer_config import TransformerConfig
from nemo.lightning.megatron_parallel import MegatronLossReduction
from nemo.lightning.pytorch.optim import LRSchedulerModule
from torch import Tensor

from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.recipes.settings import OptimizerSettings

Batch = dict[str, Tensor]


class TokenLoss(MegatronLossReduction):
    """Sum of the losses of the chosen tokens, and their number.

    Megatron divides the gradients by the number over the whole global batch, so the result does
    not depend on how the batch is cut into micro-batches and ranks.

    Parameters
    ----------
    totals : list of Tensor
        Of each step (loss sum, chosen tokens, tokens, tokens with padding) over all data parallel
        ranks, shape [4], is appended here.
    """

    def __init__(self, totals: list[Tensor]) -> None:
        super().__init__()
        self.totals = totals

    def forward(self, batch: Batch, losses: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Reduce one micro-batch: losses [B, S] to their sum and count."""
        loss_sum = (losses.float() * batch["loss_mask"]).sum()
        count = batch["loss_mask"].sum()
        tokens = batch["attention_mask"].sum()
        padded = torch.full_like(count, batch["attention_mask"].numel())
        totals = torch.stack([loss_sum.detach(), count, tokens.to(count), padded])
        return loss_sum, count.to(torch.int), {"totals": totals}

    def reduce(self, microbatches: Sequence[dict[str, Tensor]]) -> Tensor:
        """Mean loss over the global batch, of all data parallel ranks."""
        totals = torch.stack([m["totals"] for m in microbatches]).sum(0)
        torch.distributed.all_reduce(totals, group=parallel_state.get_data_parallel_group())
        self.totals.append(totals)
        return totals[0] / totals[1].clamp(min=1)


class WarmupLinearDecay(LRSchedulerModule):
    """Learning rate from 0 to the peak, then straight down to the floor, then flat."""

    def __init__(self, settings: OptimizerSettings) -> None:
        super().__init__()
        self.settings = settings

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        s = self.settings
        if step < s.warmup_steps:
            return (step + 1) / s.warmup_steps
        floor = s.min_lr / s.lr
        done = (step - s.warmup_steps) / max(1, s.decay_steps - s.warmup_steps)
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
        params_dtype=dtype,
        use_distributed_optimizer=distributed,
    )
    return nl.MegatronOptimizerModule(config, lr_scheduler=WarmupLinearDecay(settings))


class MaskedLanguageModel(pl.LightningModule):
    """ESM-2 with the hooks by which NeMo's Megatron strategy trains it.

    Parameters
    ----------
    architecture : ESM2Config
        The model.
    config : TransformerConfig
        Megatron's view of it.
    implementation : str
        ``local`` or ``transformer_engine`` layers.
    optimizer : MegatronOptimizerModule
        See :func:`megatron_optimizer`.
    seed : int
        Initial weights; the same under every parallel layout.
    """

    def __init__(
        self,
        architecture: ESM2Config,
        config: TransformerConfig,
        implementation: str,
        optimizer: nl.MegatronOptimizerModule,
        seed: int,
    ) -> None:
        super().__init__()
        self.architecture, self.config = architecture, config
        self.implementation, self.seed = implementation, seed
        self.training_totals: list[Tensor] = []
        self.validation_totals: list[Tensor] = []
        self.optim = optimizer
        self.optim.connect(self)

    def configure_model(self) -> None:
        """Build the model once the ranks know their places."""
        if hasattr(self, "module"):
            return
        torch.manual_seed(self.seed)
        tensor_parallel.model_parallel_cuda_manual_seed(self.seed)
        self.module = ESM2Model(
            self.architecture,
            self.config,
            self.implementation,
            pre_process=parallel_state.is_pipeline_first_stage(),
            post_process=parallel_state.is_pipeline_last_stage(),
        )

    def forward(self, tokens: Tensor, attention_mask: Tensor, labels: Tensor | None) -> Tensor:
        """See :meth:`ESM2Model.forward`."""
        return self.module(tokens, attention_mask, labels)

    def data_step(self, batches: Iterator[Any]) -> Batch:
        """Take the next micro-batch to this rank's device."""
        batch, *_ = next(batches)
        device = torch.cuda.current_device()
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}

    def forward_step(self, batch: Batch) -> Tensor:
        """Losses of all tokens, [B, S], on the last pipeline stage."""
        return self(batch["tokens"], batch["attention_mask"], batch["labels"])

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

    def tokens_seen(self) -> tuple[int, int]:
        """Tokens of all ranks since the last call, without and with padding."""
        totals = torch.stack(self.training_totals).sum(0)
        self.training_totals.clear()
        return int(totals[2]), int(totals[3])

    def validation_loss(self) -> float:
        """Mean loss of all chosen validation tokens since the last call."""
        totals = torch.stack(self.validation_totals).sum(0)
        self.validation_totals.clear()
        return float(totals[0] / totals[1])
