"""One rank of a pretraining run: model, data and NeMo's trainer put together."""

import os
from operator import attrgetter
from pathlib import Path

import lightning.pytorch as pl
import nemo.lightning as nl
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.opening import open_data
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import State
from bionemo_ext.models.config import megatron_config
from bionemo_ext.recipes import cpu
from bionemo_ext.recipes.card import record_run
from bionemo_ext.recipes.checkpoint import check_files
from bionemo_ext.recipes.conversion import read_any
from bionemo_ext.recipes.datamodule import PretrainData
from bionemo_ext.recipes.figures import Figures
from bionemo_ext.recipes.module import MaskedLanguageModel
from bionemo_ext.recipes.optimizer import megatron_optimizer
from bionemo_ext.recipes.preemption import SaveAndStop
from bionemo_ext.recipes.runs import newest_checkpoint
from bionemo_ext.recipes.saving import WholeCheckpoints
from bionemo_ext.recipes.settings import Fp8, PretrainSettings
from bionemo_ext.recipes.strategy import (
    DTYPES,
    Strategy,
    fit,
    layers_for,
    make_trainer,
    token_multiple,
)
from bionemo_ext.resources import data_path


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
    if not torch.cuda.is_available():
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
    trainer = _trainer(settings, checkpoints)
    fit(trainer, model, _data(settings), newest)


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
    dtype = DTYPES[precision.arithmetic]
    implementation = layers_for(settings.model.implementation, precision)
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
        multiple=token_multiple(settings.parallel, settings.precision),
        workers=data.workers,
    )


def _trainer(settings: PretrainSettings, checkpoints: WholeCheckpoints) -> nl.Trainer:
    strategy = Strategy(
        settings.parallel, settings.precision, background=settings.async_checkpoints
    )
    return make_trainer(
        settings.parallel,
        strategy,
        steps=settings.steps,
        validate_every=settings.validate_every,
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
