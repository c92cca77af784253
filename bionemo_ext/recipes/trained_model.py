"""What NeMo's Megatron strategy needs of every model that it trains."""

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import nemo.lightning as nl
import numpy as np
import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from bionemo_ext.huggingface import Architecture, State
from bionemo_ext.models.esm1nv import ESM1nvModel
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.folder import load_into
from bionemo_ext.models.masked_lm import MaskedLM
from bionemo_ext.models.packing import Packing

Batch = dict[str, Tensor]


class TrainedModel(pl.LightningModule):
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
        See :func:`bionemo_ext.recipes.optimizer.megatron_optimizer`.
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
        self.has_dropout = architecture.dropout > 0
        self.optim = optimizer
        self.optim.connect(self)

    def build(self) -> MaskedLM:
        """Build this rank's part of the model; the ranks must know their places."""
        tensor_parallel.model_parallel_cuda_manual_seed(self.seed)
        kind = ESM2Model if self.architecture.family == "esm2" else ESM1nvModel
        model = kind(
            self.architecture,
            self.config,
            self.implementation,
            pre_process=parallel_state.is_pipeline_first_stage(),
            post_process=parallel_state.is_pipeline_last_stage(),
            seed=self.seed,
        )
        if self.initial_weights is not None:
            load_into(model, self.initial_weights)
            self.initial_weights = None
        return model

    def on_train_start(self) -> None:
        """With fp16, have Megatron scale the loss as its optimizer scales the gradients back."""
        if self.config.fp16:
            optimizer = self.optimizers(use_pl_optimizer=False)
            self.config.grad_scale_func = optimizer.mcore_optimizer.scale_loss

    def on_train_batch_start(self, *_: Any) -> None:
        """Seed dropout by (seed, step, data parallel rank), so that a resumed run repeats it."""
        if not self.has_dropout:
            return
        rank = parallel_state.get_data_parallel_rank()
        key = [self.seed, self.trainer.global_step, rank]
        seed = int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)
        torch.manual_seed(seed)
        tensor_parallel.model_parallel_cuda_manual_seed(seed)

    def data_step(self, batches: Iterator[Any]) -> Batch:
        """Take the next micro-batch to this rank's device."""
        batch, *_ = next(batches)
        device = torch.cuda.current_device()
        return {
            name: tensor if tensor.ndim == 0 else tensor.to(device, non_blocking=True)
            for name, tensor in batch.items()
        }


def packing_of(batch: Batch) -> Packing | None:
    """Where the sequences of a packed batch begin."""
    if "offsets" not in batch:
        return None
    return Packing(batch["offsets"], int(batch["longest"]), batch["tokens"].shape[1])
