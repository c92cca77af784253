"""NeMo's trainer and Megatron strategy, with checkpoints that any number of ranks reads."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import lightning.pytorch as pl
import nemo.lightning as nl
import torch
from megatron.core.distributed import DistributedDataParallelConfig
from nemo.lightning.callback_group import CallbackGroup

from bionemo_ext.errors import ConfigError
from bionemo_ext.recipes.distributed_optimizer import mend
from bionemo_ext.recipes.preemption import Preempted
from bionemo_ext.recipes.saving import checkpoint_io
from bionemo_ext.recipes.settings import (
    Arithmetic,
    Fp8,
    Implementation,
    ParallelSettings,
    PrecisionSettings,
)

DTYPES = {
    Arithmetic.FP32: torch.float32,
    Arithmetic.FP16: torch.float16,
    Arithmetic.BF16: torch.bfloat16,
}


class Strategy(nl.MegatronStrategy):
    """How a run is spread over ranks.

    Parameters
    ----------
    parallel, precision : ParallelSettings, PrecisionSettings
        The run's.
    background : bool
        Whether checkpoints are written while training goes on.
    """

    def __init__(
        self, parallel: ParallelSettings, precision: PrecisionSettings, *, background: bool
    ) -> None:
        on_gpu = torch.cuda.is_available()
        super().__init__(
            tensor_model_parallel_size=parallel.tensor,
            pipeline_model_parallel_size=parallel.pipeline,
            sequence_parallel=parallel.sequence,
            pipeline_dtype=DTYPES[precision.arithmetic],
            ddp=DistributedDataParallelConfig(
                # With fp16 an overflow is no error: the scaler skips the step.
                check_for_nan_in_grad=precision.arithmetic is not Arithmetic.FP16,
                grad_reduce_in_fp32=True,
                use_distributed_optimizer=parallel.distributed_optimizer,
                # Communication hides behind the computation.
                overlap_grad_reduce=on_gpu,
                overlap_param_gather=on_gpu and parallel.distributed_optimizer,
            ),
            ckpt_async_save=background,
            checkpoint_io=checkpoint_io(background=background),
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


def make_trainer(
    parallel: ParallelSettings,
    strategy: Strategy,
    *,
    steps: int,
    validate_every: int,
    callbacks: Sequence[pl.Callback],
) -> nl.Trainer:
    """Build a trainer that says and saves nothing but what the callbacks do.

    Parameters
    ----------
    parallel : ParallelSettings
        The run's.
    strategy : Strategy
        How it is spread over ranks.
    steps, validate_every : int
        Optimizer steps in all, and between two validations over the whole set.
    callbacks : sequence of Callback
        In the order in which they are called.
    """
    return nl.Trainer(
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=parallel.devices,
        num_nodes=parallel.nodes,
        strategy=strategy,
        max_steps=steps,
        val_check_interval=min(validate_every, steps),
        check_val_every_n_epoch=None,
        limit_val_batches=1.0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        callbacks=list(callbacks),
    )


def fit(
    trainer: nl.Trainer, model: pl.LightningModule, data: pl.LightningDataModule, at: Path | None
) -> bool:
    """Train from a checkpoint, or from the beginning.

    Returns
    -------
    bool
        False if the run was told to end (SIGTERM) before its last step.
    """
    # NeMo's telemetry is the only member: nobody asked for it, and it raises at the first save.
    CallbackGroup.get_instance()._callbacks.clear()
    try:
        trainer.fit(model, data, ckpt_path=str(at) if at else None)
    except Preempted:
        return False
    return True


def layers_for(wanted: Implementation, precision: PrecisionSettings) -> str:
    """Whose layers a model is made of here.

    Raises
    ------
    ConfigError
        If FP8 is asked for where TransformerEngine's layers cannot run.
    """
    found = wanted
    if wanted is Implementation.AUTO:
        engine = torch.cuda.is_available() and find_spec("transformer_engine") is not None
        found = Implementation.TRANSFORMER_ENGINE if engine else Implementation.LOCAL
    if precision.fp8 is not Fp8.OFF and found is Implementation.LOCAL:
        raise ConfigError(
            f"precision.fp8={precision.fp8.value} needs a Hopper GPU or later, and there is none "
            "here; precision=bf16 runs everywhere"
        )
    return found.value


def token_multiple(parallel: ParallelSettings, precision: PrecisionSettings) -> int:
    """What a micro-batch's tokens must be a multiple of, so that every matrix product takes them.

    FP8 wants multiples of 16, in blocks of 128; sequence parallel ranks share the tokens.
    """
    per_rank = 128 if precision.fp8 is Fp8.BLOCKWISE else 16
    return per_rank * (parallel.tensor if parallel.sequence else 1)
