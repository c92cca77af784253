"""Megatron's Adam and the schedule of its learning rate."""

import math
from typing import Any

import nemo.lightning as nl
import torch
from megatron.core.optimizer import OptimizerConfig
from nemo.lightning.pytorch.optim import LRSchedulerModule

from bionemo_ext.recipes.settings import OptimizerSettings, Schedule

# The loss is summed over a batch's tokens, which scales fp16's gradients already; from Megatron's
# own first scale, 2^32, tens of steps would overflow before one counts.
_FIRST_LOSS_SCALE = 2.0**4


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
