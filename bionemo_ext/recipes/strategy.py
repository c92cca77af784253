"""NeMo's Megatron strategy, with checkpoints that any number of ranks of any kind reads."""

import nemo.lightning as nl
import torch
from megatron.core.distributed import DistributedDataParallelConfig

from bionemo_ext.recipes.distributed_optimizer import mend
from bionemo_ext.recipes.saving import checkpoint_io
from bionemo_ext.recipes.settings import Arithmetic, PretrainSettings


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
            ckpt_async_save=settings.async_checkpoints,
            checkpoint_io=checkpoint_io(background=settings.async_checkpoints),
            # Megatron's form of the optimizer's state that any tensor, pipeline and data parallel
            # layout reads; one rank of those that share a part gathers it, not all of them.
            ckpt_optim_fully_reshardable=True,
            distrib_optim_fully_reshardable_mem_efficient=True,
            replace_progress_bar=False,
        )
        mend()
        # NeMo's printer calls these on the first rank only, and they gather over all: a hang on
        # gloo.
        self.timers = None
