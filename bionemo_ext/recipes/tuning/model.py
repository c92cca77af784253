"""An encoder on Megatron with a task's head on it, and how NeMo trains the two together.

Shapes: B sequences, T packed tokens, L residues of the longest, H hidden, C outputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import nemo.lightning as nl
import torch
from megatron.core import parallel_state
from megatron.core.dist_checkpointing.mapping import ShardedStateDict
from megatron.core.dist_checkpointing.utils import replace_prefix_for_sharding
from megatron.core.tensor_parallel import gather_from_sequence_parallel_region
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from nemo.lightning.megatron_parallel import MegatronLossReduction
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bionemo_ext.contract import Kind
from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import Architecture, State
from bionemo_ext.inference.packing import Encoded
from bionemo_ext.inference.task import Head, TaskSpec, head_input
from bionemo_ext.models.masked_lm import MaskedLM
from bionemo_ext.recipes.finetune.losses import task_loss
from bionemo_ext.recipes.finetune.settings import LoraSettings
from bionemo_ext.recipes.trained_model import Batch, TrainedModel, packing_of
from bionemo_ext.recipes.tuning.lora import add_adapters
from bionemo_ext.tasks.targets import IGNORED

# What is counted of every micro-batch, in this order.
_COUNTED = ("loss_sum", "weight", "residues")


class TaskModel(MegatronModule):
    """Encoder and head; the head is whole and the same on every tensor parallel rank.

    Parameters
    ----------
    encoder : MaskedLM
        This rank's part. Its language model and contact heads do not train.
    spec : TaskSpec
        The head.
    seed : int
        The head's first weights.
    lora : LoraSettings, optional
        Adapters that train in the encoder's place.
    """

    def __init__(
        self, encoder: MaskedLM, spec: TaskSpec, seed: int, lora: LoraSettings | None = None
    ) -> None:
        super().__init__(encoder.config)
        self.spec, self.model_type = spec, encoder.model_type
        for part in ("lm_head", "output_layer", "contact_head"):
            if hasattr(encoder, part):
                getattr(encoder, part).requires_grad_(False)
        self.adapted = lora is not None
        if lora is not None:
            add_adapters(encoder, lora, seed)
        self.encoder = encoder
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            # Megatron's distributed optimizer cannot save a group of parameters of two precisions.
            self.head = Head(spec).to(encoder.config.params_dtype)

    def set_input_tensor(self, input_tensor: Any) -> None:
        """Take nothing: there is no pipeline stage before."""

    def forward(self, batch: Batch) -> Tensor:
        """Raw outputs [B, C] or [B, L, C] of a batch of :func:`batch_maker`, in fp32."""
        hidden = self.encoder.encode(batch["tokens"], batch["attention_mask"], packing_of(batch))
        if self.config.sequence_parallel:
            # Each rank runs the whole head, so its gradient is cut up again, not summed.
            hidden = gather_from_sequence_parallel_region(hidden, tensor_parallel_output_grad=False)
        offsets = batch["offsets"][: len(batch["lengths"]) + 1]
        seen = head_input(self.spec, Encoded(hidden[:, 0], tuple(offsets.tolist())))
        dtype = self.config.params_dtype
        if self.spec.sees_residues:
            residues = pad_sequence(seen, batch_first=True).to(dtype)
            return self.head(residues, batch["lengths"]).float()
        return self.head(torch.stack(seen).to(dtype)).float()

    def sharded_state_dict(
        self,
        prefix: str = "",
        sharded_offsets: tuple[tuple[int, int, int], ...] = (),
        metadata: dict[str, Any] | None = None,
    ) -> ShardedStateDict:
        """What a checkpoint holds: the encoder under a pretraining run's names, and the head.

        With adapters only they and the head.
        """
        whole = super().sharded_state_dict(prefix, sharded_offsets, metadata)
        inner = f"{prefix}encoder."
        encoder = {name: value for name, value in whole.items() if name.startswith(inner)}
        head = {name: value for name, value in whole.items() if name not in encoder}
        if self.adapted:
            encoder = {name: value for name, value in encoder.items() if ".adapter." in name}
        replace_prefix_for_sharding(encoder, inner, prefix)
        return {**encoder, **head}


class TaskLoss(MegatronLossReduction):
    """Sum of the losses of the labels that count, and their number over the global batch.

    Parameters
    ----------
    spec : TaskSpec
        The kind of target.
    totals : list of Tensor
        Of each step what ``_COUNTED`` names, over all data parallel ranks, is appended here.
    class_weights : Tensor, optional
        [C], of classes alone.
    """

    def __init__(
        self, spec: TaskSpec, totals: list[Tensor], class_weights: Tensor | None = None
    ) -> None:
        super().__init__()
        self.spec, self.totals, self.class_weights = spec, totals, class_weights

    def forward(self, batch: Batch, raw: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Reduce one micro-batch: raw outputs to the sum of losses and the count."""
        weights = self.class_weights
        if weights is not None:
            weights = weights.to(raw.device)
        targets = batch["targets"]
        loss_sum, weight = task_loss(self.spec, raw, targets, weights)
        classes = self.spec.kind is Kind.CLASSIFICATION
        count = ((targets != IGNORED) if classes else ~targets.isnan()).sum()
        counted = (loss_sum.detach(), weight, batch["lengths"].sum())
        totals = torch.stack([number.double() for number in counted])
        return loss_sum * batch["scale"].to(raw), count.to(torch.int), {"totals": totals}

    def reduce(self, microbatches: Sequence[dict[str, Tensor]]) -> Tensor:
        """Mean loss over the global batch, of all data parallel ranks."""
        totals = torch.stack([m["totals"] for m in microbatches]).sum(0)
        torch.distributed.all_reduce(totals, group=parallel_state.get_data_parallel_group())
        self.totals.append(totals)
        return (totals[0] / totals[1].clamp(min=1e-12)).float()


class TaskTraining(TrainedModel):
    """Encoder and head as NeMo trains them; see :class:`TrainedModel`.

    Parameters
    ----------
    architecture, config, implementation, optimizer, seed, weights
        As there.
    spec : TaskSpec
        The head.
    lora : LoraSettings, optional
        Adapters that train in the encoder's place.
    class_weights : Tensor, optional
        [C], how much the classes count in training; validation counts labels alike.
    """

    def __init__(
        self,
        architecture: Architecture,
        config: TransformerConfig,
        implementation: str,
        optimizer: nl.MegatronOptimizerModule,
        seed: int,
        weights: State,
        *,
        spec: TaskSpec,
        lora: LoraSettings | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__(architecture, config, implementation, optimizer, seed, weights)
        self.spec, self.lora, self.class_weights = spec, lora, class_weights
        self.has_dropout = True  # the head's
        self.training_totals: list[Tensor] = []
        self.validation_totals: list[Tensor] = []

    def configure_model(self) -> None:
        """Build encoder and head once the ranks know their places."""
        if not hasattr(self, "module"):
            self.module = TaskModel(self.build(), self.spec, self.seed, self.lora)

    def forward(self, batch: Batch) -> Tensor:
        """See :meth:`TaskModel.forward`."""
        return self.module(batch)

    def forward_step(self, batch: Batch) -> Tensor:
        """Same as :meth:`forward`."""
        return self(batch)

    def training_step(self, batch: Batch, batch_idx: int | None = None) -> Tensor:
        """Same as :meth:`forward`."""
        return self(batch)

    def validation_step(self, batch: Batch, batch_idx: int | None = None) -> Tensor:
        """Same as :meth:`forward`."""
        return self(batch)

    def training_loss_reduction(self) -> TaskLoss:
        """How NeMo reduces a training batch."""
        return TaskLoss(self.spec, self.training_totals, self.class_weights)

    def validation_loss_reduction(self) -> TaskLoss:
        """How NeMo reduces a validation batch."""
        return TaskLoss(self.spec, self.validation_totals)

    def figures(self) -> dict[str, float]:
        """Mean losses and residues trained on since the last call, over all ranks."""
        train, validation = _sum_up(self.training_totals), _sum_up(self.validation_totals)
        return {
            "loss": train["loss_sum"] / max(train["weight"], 1e-12),
            "val_loss": validation["loss_sum"] / max(validation["weight"], 1e-12),
            "residues": train["residues"],
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take what a checkpoint holds: of a model with adapters only they and the head.

        Raises
        ------
        CheckpointError
            If a tensor that trains is missing, or one is not the model's.
        """
        done = super().load_state_dict(state_dict, strict=False, assign=assign)
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        wrong = sorted(trained & set(done.missing_keys)) + sorted(done.unexpected_keys)
        if strict and wrong:
            raise CheckpointError(f"the checkpoint does not fit the model: {wrong[0]}")
        return done


def _sum_up(totals: list[Tensor]) -> dict[str, float]:
    total = torch.stack(totals).sum(0).tolist() if totals else [0.0] * len(_COUNTED)
    totals.clear()
    return dict(zip(_COUNTED, total, strict=True))
