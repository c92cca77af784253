"""NeMo's Megatron strategy, with checkpoints that any number of ranks of any kind reads."""

from collections.abc import Mapping
from typing import Any

import nemo.lightning as nl
import torch
from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

from bionemo_ext.recipes.saving import checkpoint_io
from bionemo_ext.recipes.settings import Arithmetic, PretrainSettings

_set_states = DistributedOptimizer._set_main_param_and_optimizer_states


def _set_states_but_step(
    optimizer: DistributedOptimizer, parameter: torch.nn.Parameter, loaded: dict[str, Any]
) -> None:
    # PyTorch's Adam counts its steps for every parameter, a checkpoint once for all of them: the
    # count has been loaded with the group, and Megatron looks for it among the tensors in vain.
    own = optimizer._get_main_param_and_optimizer_states(parameter)
    counted = {"step": own["step"]} if "step" in own else {}
    _set_states(optimizer, parameter, {**counted, **loaded})


class Strategy(nl.MegatronStrategy):
    """How a run is spread over ranks.

    Parameters
    ----------
    settings : PretrainSettings
        The run.
    dtype : torch.dtype
        Of what pipeline stages send each other.
    on_gpu : bool
        Whether communication is hidden behind the computation.
    """

    def __init__(self, settings: PretrainSettings, dtype: torch.dtype, *, on_gpu: bool) -> None:
        parallel = settings.parallel
        super().__init__(
            tensor_model_parallel_size=parallel.tensor,
            pipeline_model_parallel_size=parallel.pipeline,
            sequence_parallel=parallel.sequence,
            pipeline_dtype=dtype,
            ddp=DistributedDataParallelConfig(
                # With fp16 an overflow is no error: the scaler skips the step.
                check_for_nan_in_grad=settings.precision.arithmetic is not Arithmetic.FP16,
                grad_reduce_in_fp32=True,
                use_distributed_optimizer=parallel.distributed_optimizer,
                overlap_grad_reduce=on_gpu,
                overlap_param_gather=on_gpu and parallel.distributed_optimizer,
            ),
            checkpoint_io=checkpoint_io(background=settings.async_checkpoints),
            # Megatron's form of the optimizer's state that any tensor, pipeline and data parallel
            # layout reads; one rank of those that share a part gathers it, not all of them.
            ckpt_optim_fully_reshardable=True,
            distrib_optim_fully_reshardable_mem_efficient=True,
            replace_progress_bar=False,
        )
        DistributedOptimizer._set_main_param_and_optimizer_states = _set_states_but_step
        # NeMo's printer calls these on the first rank only, and they gather over all: a hang on
        # gloo.
        self.timers = None

    def optimizer_sharded_state_dict(
        self, is_loading: bool = False, metadata: dict[str, Any] | None = None
    ) -> Any:
        """Say where each part of the optimizer's state lies in a checkpoint.

        Megatron asks PyTorch's Adam for its step while loading, which it does not have before the
        first one; so it is given a state, and what is loaded takes its place.
        """
        if is_loading:
            for part in self._distributed_optimizers():
                part._init_optimizer_states_with_dummy_values()
        return super().optimizer_sharded_state_dict(is_loading, metadata)

    def load_optimizer_state_dict(
        self, checkpoint: Mapping[str, Any], selective_restore: bool = False
    ) -> None:
        """Load, and give each parameter a step count of its own.

        Megatron gives all of them one tensor, which PyTorch's Adam would then count up once for
        each parameter.
        """
        super().load_optimizer_state_dict(checkpoint, selective_restore)
        for part in self._distributed_optimizers():
            for state in part.optimizer.state.values():
                if isinstance(state.get("step"), torch.Tensor):
                    state["step"] = state["step"].clone()

    def _distributed_optimizers(self) -> list[DistributedOptimizer]:
        parts = [
            part
            for optimizer in self.optimizers
            for part in getattr(optimizer.mcore_optimizer, "chained_optimizers", [])
        ]
        return [part for part in parts if isinstance(part, DistributedOptimizer)]
