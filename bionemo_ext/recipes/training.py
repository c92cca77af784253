"""One rank of a pretraining run: model, data and NeMo's trainer put together."""

import queue
from pathlib import Path

import lightning.pytorch as pl
import nemo.lightning as nl
import torch
from megatron.core.dist_checkpointing.strategies import filesystem_async
from nemo.lightning.callback_group import CallbackGroup

from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.models.config import megatron_config
from bionemo_ext.recipes import cpu
from bionemo_ext.recipes.callbacks import Figures, WholeCheckpoints
from bionemo_ext.recipes.checkpoint import check_files
from bionemo_ext.recipes.datamodule import PretrainData
from bionemo_ext.recipes.module import MaskedLanguageModel, megatron_optimizer
from bionemo_ext.recipes.runs import newest_checkpoint
from bionemo_ext.recipes.settings import Arithmetic, DataSettings, PretrainSettings
from bionemo_ext.resources import data_path

_DTYPES = {
    Arithmetic.FP32: torch.float32,
    Arithmetic.FP16: torch.float16,
    Arithmetic.BF16: torch.bfloat16,
}


def train(settings: PretrainSettings) -> None:
    """Train from the run's newest whole checkpoint, or from the beginning.

    Raises
    ------
    DataError, FastaError
        If the data cannot be used.
    CheckpointError
        If the newest checkpoint is damaged.
    """
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        cpu.enable_nemo()
    pl.seed_everything(settings.seed, verbose=False)
    data = _data(settings)
    trainer = _trainer(settings, on_gpu)
    # Megatron collects a save's results through a server process of its own, which outlives a
    # killed rank. Saving is synchronous here, so a queue in this process does.
    filesystem_async._results_queue = queue.Queue()
    # NeMo's telemetry is the only member: nobody asked for it, and it raises at the first save.
    CallbackGroup.get_instance()._callbacks.clear()
    newest = newest_checkpoint(Path(settings.out))
    if newest is not None:
        check_files(newest)
    trainer.fit(_model(settings, on_gpu), data, ckpt_path=str(newest) if newest else None)


def _model(settings: PretrainSettings, on_gpu: bool) -> MaskedLanguageModel:
    model, parallel = settings.model, settings.parallel
    dtype = _DTYPES[settings.precision.arithmetic]
    architecture = ESM2Config(
        model.layers, model.hidden, model.heads, model.ffn, model.max_positions
    )
    config = megatron_config(
        architecture,
        tensor_parallel=parallel.tensor,
        pipeline_parallel=parallel.pipeline,
        sequence_parallel=parallel.sequence,
        layers=model.implementation.value,
        dtype=dtype,
    )
    optimizer = megatron_optimizer(settings.optimizer, distributed=on_gpu, dtype=dtype)
    return MaskedLanguageModel(
        architecture, config, model.implementation.value, optimizer, settings.seed
    )


def _data(settings: PretrainSettings) -> PretrainData:
    data, batch = settings.data, settings.global_batch
    train, validation = _stores(data, settings.seed)
    steps = -(-len(validation) // batch)
    return PretrainData(
        MaskedDataset(train, settings.steps * batch, settings.seed, data.max_residues, data.crop),
        MaskedDataset(validation, steps * batch, settings.seed, data.max_residues, fixed=True),
        settings.micro_batch,
        batch,
        data.workers,
    )


def _stores(data: DataSettings, seed: int) -> tuple[SequenceStore, SequenceStore]:
    train = SequenceStore.from_fasta(data_path(data.train))
    if data.validation:
        return train, SequenceStore.from_fasta(data_path(data.validation))
    return train.split(data.validation_fraction, seed)


def _trainer(settings: PretrainSettings, on_gpu: bool) -> nl.Trainer:
    parallel, out = settings.parallel, Path(settings.out)
    strategy = nl.MegatronStrategy(
        tensor_model_parallel_size=parallel.tensor,
        pipeline_model_parallel_size=parallel.pipeline,
        sequence_parallel=parallel.sequence,
        pipeline_dtype=_DTYPES[settings.precision.arithmetic],
        ddp="megatron",
        ckpt_async_save=False,
        replace_progress_bar=False,
    )
    # NeMo's printer calls these on the first rank only, and they gather over all: a hang on gloo.
    strategy.timers = None
    return nl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=parallel.devices,
        num_nodes=parallel.nodes,
        strategy=strategy,
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
        callbacks=[
            Figures(out, settings.log_every),
            WholeCheckpoints(
                out / "checkpoints", settings.checkpoint_every, settings.keep_checkpoints
            ),
        ],
    )
