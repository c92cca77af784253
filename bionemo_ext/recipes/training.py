"""One rank of a pretraining run: model, data and NeMo's trainer put together."""

import os
from contextlib import suppress
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path

import lightning.pytorch as pl
import nemo.lightning as nl
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from nemo.lightning.callback_group import CallbackGroup

from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.opening import open_data
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.errors import CheckpointError, ConfigError
from bionemo_ext.huggingface import State
from bionemo_ext.models.config import megatron_config
from bionemo_ext.recipes import cpu
from bionemo_ext.recipes.card import record_run
from bionemo_ext.recipes.checkpoint import check_files
from bionemo_ext.recipes.conversion import read_any
from bionemo_ext.recipes.datamodule import PretrainData
from bionemo_ext.recipes.figures import Figures
from bionemo_ext.recipes.module import MaskedLanguageModel, megatron_optimizer
from bionemo_ext.recipes.preemption import Preempted, SaveAndStop
from bionemo_ext.recipes.runs import newest_checkpoint
from bionemo_ext.recipes.saving import WholeCheckpoints
from bionemo_ext.recipes.settings import (
    Arithmetic,
    Fp8,
    Implementation,
    PretrainSettings,
)
from bionemo_ext.recipes.strategy import Strategy
from bionemo_ext.resources import data_path

_DTYPES = {
    Arithmetic.FP32: torch.float32,
    Arithmetic.FP16: torch.float16,
    Arithmetic.BF16: torch.bfloat16,
}


def train(settings: PretrainSettings) -> None:
    """Train from the run's newest whole checkpoint, or from the beginning.

    Told to end (SIGTERM), it saves and returns before the last step.

    Raises
    ------
    DataError, FastaError
        If the data cannot be used.
    CheckpointError
        If the newest checkpoint is damaged, or ``init`` is of another architecture.
    ConfigError
        If FP8 is asked for where TransformerEngine's layers cannot run.
    """
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        cpu.enable_nemo()
    pl.seed_everything(settings.seed, verbose=False)
    newest = newest_checkpoint(Path(settings.out))
    if newest is not None:
        check_files(newest)
    weights = _initial_weights(settings) if settings.init and newest is None else None
    model = _model(settings, weights)
    checkpoints = WholeCheckpoints(
        Path(settings.out), settings.checkpoint_every, settings.keep_checkpoints, settings.keep_best
    )
    trainer = _trainer(settings, on_gpu, checkpoints)
    # NeMo's telemetry is the only member: nobody asked for it, and it raises at the first save.
    CallbackGroup.get_instance()._callbacks.clear()
    with suppress(Preempted):
        trainer.fit(model, _data(settings), ckpt_path=str(newest) if newest else None)


def _initial_weights(settings: PretrainSettings) -> State:
    architecture, state = read_any(settings.init)
    wanted = settings.model.architecture()
    # Dropout may be another, and in which precision constants were stored is of no matter.
    shape = attrgetter("family", "layers", "hidden", "heads", "ffn", "max_positions")
    if shape(architecture) != shape(wanted):
        raise CheckpointError(
            f"init={settings.init} holds {architecture}, but the run trains {wanted}; "
            "choose the model= of the weights"
        )
    return state


def _model(settings: PretrainSettings, weights: State | None) -> MaskedLanguageModel:
    parallel, precision = settings.parallel, settings.precision
    dtype = _DTYPES[precision.arithmetic]
    implementation = _implementation(settings.model.implementation)
    if precision.fp8 is not Fp8.OFF and implementation == Implementation.LOCAL.value:
        raise ConfigError(
            f"precision.fp8={precision.fp8.value} needs a Hopper GPU or later, and there is none "
            "here; precision=bf16 runs everywhere"
        )
    architecture = settings.model.architecture()
    config = megatron_config(
        architecture,
        tensor_parallel=parallel.tensor,
        pipeline_parallel=parallel.pipeline,
        sequence_parallel=parallel.sequence,
        layers=implementation,
        dtype=dtype,
        fp8=precision.fp8.value,
        bf16_ends=(precision.bf16_first_layers, precision.bf16_last_layers),
        recompute=settings.recompute.value,
    )
    optimizer = megatron_optimizer(
        settings.optimizer, distributed=parallel.distributed_optimizer, dtype=dtype
    )
    return MaskedLanguageModel(
        architecture, config, implementation, optimizer, settings.seed, weights
    )


def _implementation(wanted: Implementation) -> str:
    if wanted is not Implementation.AUTO:
        return wanted.value
    engine = torch.cuda.is_available() and find_spec("transformer_engine") is not None
    return (Implementation.TRANSFORMER_ENGINE if engine else Implementation.LOCAL).value


def _data(settings: PretrainSettings) -> PretrainData:
    data, batch = settings.data, settings.global_batch
    train, validation = open_data(
        data_path(data.train),
        data_path(data.validation) if data.validation else None,
        fraction=data.validation_fraction,
        seed=settings.seed,
        alphabet=settings.model.architecture().alphabet,
    )
    if os.environ.get("RANK", "0") == "0":
        counts = {"train": {"sequences": len(train)}, "validation": {"sequences": len(validation)}}
        in_memory = isinstance(train, SequenceStore)  # a store on disk describes itself
        devices = settings.parallel.devices * settings.parallel.nodes
        record_run(Path(settings.out), devices, counts if in_memory else None)
    steps = -(-len(validation) // batch)
    return PretrainData(
        MaskedDataset(train, settings.steps * batch, settings.seed, data.max_residues, data.crop),
        MaskedDataset(validation, steps * batch, settings.seed, data.max_residues, fixed=True),
        settings.micro_batch,
        batch,
        packing=settings.packing,
        multiple=_token_multiple(settings),
        workers=data.workers,
    )


def _token_multiple(settings: PretrainSettings) -> int:
    """What a micro-batch's tokens must be a multiple of, so that every matrix product takes them.

    FP8 wants multiples of 16, in blocks of 128; sequence parallel ranks share the tokens.
    """
    per_rank = 128 if settings.precision.fp8 is Fp8.BLOCKWISE else 16
    return per_rank * (settings.parallel.tensor if settings.parallel.sequence else 1)


def _trainer(settings: PretrainSettings, on_gpu: bool, checkpoints: WholeCheckpoints) -> nl.Trainer:
    parallel = settings.parallel
    return nl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=parallel.devices,
        num_nodes=parallel.nodes,
        strategy=Strategy(settings, _DTYPES[settings.precision.arithmetic], on_gpu=on_gpu),
        max_steps=settings.steps,
        val_check_interval=min(settings.validate_every, settings.steps),
        check_val_every_n_epoch=None,
        limit_val_batches=1.0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        callbacks=[_figures(settings), checkpoints, SaveAndStop(checkpoints)],
    )


def _figures(settings: PretrainSettings) -> Figures:
    out, loggers = Path(settings.out), list[Logger]()
    if settings.logging.tensorboard:
        loggers.append(TensorBoardLogger(out, name="tensorboard", version=""))
    if settings.logging.wandb_project:
        loggers.append(
            WandbLogger(project=settings.logging.wandb_project, name=out.name, save_dir=out)
        )
    fp8 = settings.precision.fp8 is not Fp8.OFF
    return Figures(out, settings.log_every, loggers, fp8=fp8)
