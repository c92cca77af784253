"""Train an encoder with its head in one rank, or go on where that was ended."""

import os
from pathlib import Path

import lightning.pytorch as pl
import torch

from bionemo_ext.huggingface import Architecture, State
from bionemo_ext.inference.task import TaskSpec
from bionemo_ext.models.config import megatron_config
from bionemo_ext.models.folder import read_folder
from bionemo_ext.recipes import cpu
from bionemo_ext.recipes.checkpoint import check_files
from bionemo_ext.recipes.datamodule import MegatronData
from bionemo_ext.recipes.finetune.losses import balanced_weights
from bionemo_ext.recipes.finetune.prepare import model_folder
from bionemo_ext.recipes.finetune.settings import ClassWeights, FinetuneSettings, Mode
from bionemo_ext.recipes.optimizer import megatron_optimizer
from bionemo_ext.recipes.preemption import Stop
from bionemo_ext.recipes.runs import checkpoint_step, newest_checkpoint, read_metrics
from bionemo_ext.recipes.settings import Implementation, OptimizerSettings
from bionemo_ext.recipes.strategy import (
    DTYPES,
    Strategy,
    fit,
    layers_for,
    make_trainer,
    token_multiple,
)
from bionemo_ext.recipes.tuning.data import LabelledStream, batch_maker
from bionemo_ext.recipes.tuning.epochs import EpochCheckpoints, EpochFigures, is_over
from bionemo_ext.recipes.tuning.identity import claim
from bionemo_ext.recipes.tuning.model import TaskTraining
from bionemo_ext.recipes.tuning.result import write_result
from bionemo_ext.tasks.examples import LabelledSet
from bionemo_ext.tasks.targets import Targets


def tune(settings: FinetuneSettings, spec: TaskSpec, data: LabelledSet, targets: Targets) -> bool:
    """Train encoder and head until validation says stop, and write the best.

    To be called in every rank, with the same arguments. It goes on from the last whole epoch of a
    run that was killed or told to end.

    Parameters
    ----------
    settings : FinetuneSettings
        The run, which :mod:`bionemo_ext.recipes.finetune.preflight` has passed; its mode is LoRA
        or full.
    spec : TaskSpec
        The head, with ``input_size`` and the digest of the encoder that the run begins with.
    data : LabelledSet
        Clean sequences, cut to the encoder's limit.
    targets : Targets
        Their targets.

    Returns
    -------
    bool
        False if the run was told to end (SIGTERM) before it was over. True when the folder
        ``out`` has ``task.json``, ``head.safetensors`` and ``adapter/`` or ``huggingface/``.

    Raises
    ------
    ConfigError
        If FP8 cannot run here.
    CheckpointError
        If the encoder cannot be read, or ``out`` holds another run.
    RunError
        If no epoch had a validation loss.
    """
    out = Path(settings.out)
    if not torch.cuda.is_available():
        cpu.enable_nemo()
    pl.seed_everything(settings.seed, verbose=False)
    first = os.environ.get("RANK", "0") == "0"
    if first:
        claim(settings, spec, data, targets)
    architecture, weights = read_folder(model_folder(Path(settings.encoder)))
    training = settings.training
    newest = newest_checkpoint(out)
    at = checkpoint_step(newest) if newest else 0
    rows = [row for row in read_metrics(out) if row["step"] <= at] if newest else []
    if not is_over(rows, training.epochs, training.patience):
        if newest is not None:
            check_files(newest)
        if not _train(settings, spec, (data, targets), (architecture, weights), rows):
            return False
    if first:
        write_result(settings, spec, architecture)
    return True


def _train(
    settings: FinetuneSettings,
    spec: TaskSpec,
    labelled: tuple[LabelledSet, Targets],
    encoder: tuple[Architecture, State],
    rows: list[dict[str, float]],
) -> bool:
    training, out = settings.training, Path(settings.out)
    balanced = settings.task.class_weights is ClassWeights.BALANCED
    class_weights = balanced_weights(spec, labelled[1].train) if balanced else None
    model = _model(settings, spec, *encoder, class_weights)
    data = _data(settings, spec, *labelled, model, class_weights)
    strategy = Strategy(settings.parallel, settings.precision, background=False)
    steps = data.train.steps
    figures = EpochFigures(out, rows, steps, training.batch, training.epochs, training.patience)
    trainer = make_trainer(
        settings.parallel,
        strategy,
        steps=steps * training.epochs,
        validate_every=steps,
        callbacks=[figures, EpochCheckpoints(out), Stop()],
    )
    return fit(trainer, model, data, newest_checkpoint(out))


def _model(
    settings: FinetuneSettings,
    spec: TaskSpec,
    architecture: Architecture,
    weights: State,
    class_weights: torch.Tensor | None,
) -> TaskTraining:
    parallel, precision, training = settings.parallel, settings.precision, settings.training
    dtype = DTYPES[precision.arithmetic]
    layers = layers_for(Implementation.AUTO, precision)
    config = megatron_config(
        architecture,
        tensor_parallel=parallel.tensor,
        sequence_parallel=parallel.sequence,
        layers=layers,
        dtype=dtype,
        fp8=precision.fp8.value,
        bf16_ends=(precision.bf16_first_layers, precision.bf16_last_layers),
        recompute=settings.recompute.value,
    )
    constant = OptimizerSettings(
        lr=settings.lr,
        min_lr=settings.lr,
        warmup_steps=0,
        decay_steps=1,
        betas=[0.9, 0.999],
        weight_decay=training.weight_decay,
        clip=training.clip,
    )
    optimizer = megatron_optimizer(
        constant, distributed=parallel.distributed_optimizer, dtype=dtype
    )
    return TaskTraining(
        architecture,
        config,
        layers,
        optimizer,
        settings.seed,
        weights,
        spec=spec,
        lora=settings.lora if settings.mode is Mode.LORA else None,
        class_weights=class_weights,
    )


def _data(
    settings: FinetuneSettings,
    spec: TaskSpec,
    data: LabelledSet,
    targets: Targets,
    model: TaskTraining,
    class_weights: torch.Tensor | None,
) -> MegatronData:
    training, parallel = settings.training, settings.parallel
    alphabet = model.architecture.alphabet
    train, validation = ([e.sequence for e in part] for part in (data.train, data.validation))
    replicas = parallel.devices * parallel.nodes // parallel.tensor
    return MegatronData(
        LabelledStream(
            spec,
            alphabet,
            train,
            targets.train,
            training.batch,
            epochs=training.epochs,
            seed=settings.seed,
            class_weights=class_weights,
        ),
        LabelledStream(spec, alphabet, validation, targets.validation, training.batch),
        batch_maker(spec, alphabet, token_multiple(parallel, settings.precision)),
        max(map(len, train)) + 2,
        training.micro_batch or training.batch // replicas,
        training.batch,
    )
