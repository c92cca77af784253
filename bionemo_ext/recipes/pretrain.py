"""Pretrain ESM-2 by masked language modelling: what is run, where, and from which step."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from omegaconf import OmegaConf

from bionemo_ext.errors import CheckpointError, ConfigError
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.quiet import quieten
from bionemo_ext.recipes.ranks import end_with_launcher, in_rank
from bionemo_ext.recipes.runs import RUN_FILE, checkpoint_step, newest_checkpoint
from bionemo_ext.recipes.settings import Implementation, PretrainSettings
from bionemo_ext.resources import data_path


def run(overrides: Sequence[str]) -> Path:
    """Pretrain as ``conf/pretrain.yaml`` and the overrides say; go on where a run was ended.

    One process a device is started, unless this process was launched as a rank.

    Returns
    -------
    Path
        The run's folder, see :mod:`bionemo_ext.recipes.runs`.

    Raises
    ------
    ConfigError, DataError, FastaError, CheckpointError
        If the run cannot be started as told.
    RunError
        If a rank fails.
    """
    quieten()
    settings = compose("pretrain", overrides, PretrainSettings)
    out = Path(settings.out)
    if in_rank():
        end_with_launcher()
        _train(settings)
        return out
    check(settings)
    _prepare(settings, out)
    newest = newest_checkpoint(out)
    if newest is not None and checkpoint_step(newest) >= settings.steps:
        print(f"{out} is trained to step {checkpoint_step(newest)} already", flush=True)
    elif settings.parallel.devices == 1:
        _train(settings)
    else:
        from bionemo_ext.recipes.launch import run_ranks

        run_ranks(["pretrain", *overrides], settings.parallel.devices)
    from bionemo_ext.recipes.checkpoint import to_huggingface

    to_huggingface(out, out / "huggingface")
    return out


def check(settings: PretrainSettings) -> None:
    """Refuse what could not run, before anything is started or written.

    Raises
    ------
    ConfigError
        Names the keys that do not go together.
    DataError
        If there is no such training or validation data.
    """
    parallel, data = settings.parallel, settings.data
    world = parallel.devices * parallel.nodes
    model_parallel = parallel.tensor * parallel.pipeline
    if world % model_parallel:
        raise ConfigError(
            f"parallel.tensor {parallel.tensor} x parallel.pipeline {parallel.pipeline} does not "
            f"divide the number of devices, {world}"
        )
    if parallel.nodes > 1:
        raise ConfigError(
            f"parallel.nodes is {parallel.nodes}, but this command starts the ranks of one node "
            "only"
        )
    if parallel.pipeline != 1:
        raise ConfigError(
            f"parallel.pipeline is {parallel.pipeline}; pipeline stages are not supported yet, "
            "use parallel.tensor"
        )
    model = settings.model
    engine = model.implementation is Implementation.TRANSFORMER_ENGINE
    if engine and find_spec("transformer_engine") is None:
        raise ConfigError(
            "model.implementation=transformer_engine needs the package transformer-engine, which "
            "is for NVIDIA GPUs; local runs everywhere"
        )
    if model.hidden % model.heads:
        raise ConfigError(
            f"model.hidden {model.hidden} is not a multiple of model.heads {model.heads}"
        )
    if model.heads % parallel.tensor:
        raise ConfigError(
            f"parallel.tensor {parallel.tensor} does not divide model.heads {model.heads}"
        )
    per_pass = settings.micro_batch * (world // model_parallel)
    if settings.global_batch % per_pass:
        raise ConfigError(
            f"global_batch {settings.global_batch} is not a multiple of micro_batch x data "
            f"parallel size, {per_pass}"
        )
    if data.max_residues + 2 > model.max_positions:
        raise ConfigError(
            f"data.max_residues {data.max_residues} with <cls> and <eos> is over "
            f"model.max_positions {model.max_positions}"
        )
    betas = settings.optimizer.betas
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"optimizer.betas is {betas}, but two numbers from 0 to 1 are needed")
    for source in filter(None, (data.train, data.validation)):
        data_path(source)


def _prepare(settings: PretrainSettings, out: Path) -> None:
    """Make the run's folder, or see that the one that is there holds the same model."""
    known, newest = out / RUN_FILE, newest_checkpoint(out)
    plain = OmegaConf.create(json.loads(json.dumps(asdict(settings))))
    if newest is not None and known.is_file():
        before = OmegaConf.load(known).model
        if before != plain.model:
            raise CheckpointError(
                f"{out} holds a run of another model ({before.name}); choose another out="
            )
        print(f"{out} has {newest.name}", flush=True)
    elif out.is_dir() and any(out.iterdir()) and not known.is_file():
        raise CheckpointError(f"{out} is neither empty nor a run's folder; choose another out=")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {out} cannot be made: {error.strerror}") from None
    partial = out / f".{RUN_FILE}.partial"
    OmegaConf.save(plain, partial)
    partial.replace(known)


def _train(settings: PretrainSettings) -> None:
    # Torch, Megatron and NeMo take seconds to import: only ranks need them.
    from bionemo_ext.recipes.training import train

    train(settings)
