"""Training steps as a run on one GPU takes them, without NeMo: Megatron's DDP and optimizer."""

from collections.abc import Sequence
from typing import Any

import torch
from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from torch import Tensor

from benchmarks.gpu.batches import Batch, mean_loss
from bionemo_ext.models.esm2 import ESM2Model

# Lin et al., 2023, and gradient clipping as NVIDIA's recipes have it: conf/recipe/esm2_*.yaml.
_ADAM = {"weight_decay": 0.01, "adam_beta1": 0.9, "adam_beta2": 0.98, "adam_eps": 1e-8}


class Stepper:
    """A model with its optimizer: master weights, moments and summed gradients in fp32.

    Parameters
    ----------
    model : ESM2Model
        In bf16, on its device.
    lr : float
        Learning rate until :meth:`set_lr`.
    """

    def __init__(self, model: ESM2Model, lr: float) -> None:
        self.model = model
        ddp = DistributedDataParallelConfig(
            grad_reduce_in_fp32=True, use_distributed_optimizer=False
        )
        self.wrapped = DistributedDataParallel(model.config, ddp, model)
        settings = OptimizerConfig(
            optimizer="adam",
            lr=lr,
            min_lr=0.0,
            clip_grad=1.0,
            bf16=model.config.bf16,
            params_dtype=model.config.params_dtype,
            use_distributed_optimizer=False,
            **_ADAM,
        )
        self.optimizer = get_megatron_optimizer(settings, [self.wrapped])
        self.set_lr(lr)

    def set_lr(self, lr: float) -> None:
        """Change the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def step(self, batches: Sequence[Batch]) -> Tensor:
        """Forward and backward of every micro-batch, then Adam; the mean loss before it."""
        self.wrapped.zero_grad_buffer()
        self.optimizer.zero_grad()
        # TransformerEngine keeps the weights' FP8 copies until it is told that they have changed.
        self.model.set_is_first_microbatch()
        losses = []
        for batch in batches:
            loss = mean_loss(self.wrapped, batch) / len(batches)
            loss.backward()
            losses.append(loss.detach())
        finalize_model_grads([self.wrapped])
        self.optimizer.step()
        return torch.stack(losses).sum()

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` goes on from."""
        weights = {name: p.detach() for name, p in self.model.named_parameters()}
        return {"weights": weights, "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up an earlier state."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
