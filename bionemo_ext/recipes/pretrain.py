"""Pretrain ESM-2 by masked language modelling: what is run, where, and from which step."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from omegaconf import OmegaConf

from bionemo_ext.data.opening import fingerprint
from bionemo_ext.errors import CheckpointError, ConfigError
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.preflight import check
from bionemo_ext.recipes.quiet import quieten
from bionemo_ext.recipes.ranks import (
    end_with_launcher,
    in_rank,
    launched_by_us,
    prepare_environment,
)
from bionemo_ext.recipes.runs import RUN_FILE, newest_checkpoint, newest_step
from bionemo_ext.recipes.settings import PretrainSettings
from bionemo_ext.resources import data_path
from bionemo_ext.whole import whole

# What a run may not change halfway: going on would not be the same run.
_FIXED = (
    "model",
    "data.train",
    "data.validation",
    "data.validation_fraction",
    "data.max_residues",
    "data.crop",
    "global_batch",
    "seed",
    "parallel.distributed_optimizer",
)


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
        prepare_environment(settings.parallel.tensor)
        _be_rank(settings, out)
        return out
    check(settings)
    _prepare(settings, out)
    done = newest_step(out)
    if done >= settings.steps:
        print(f"{out} is trained to step {done} already", flush=True)
        _finish(settings, out)
    elif settings.parallel.devices == 1:
        _train(settings)
        _finish(settings, out)
    else:
        from bionemo_ext.recipes.launch import run_ranks

        parallel = settings.parallel
        run_ranks(["pretrain", *overrides], parallel.devices, parallel.tensor)
    return out


def _be_rank(settings: PretrainSettings, out: Path) -> None:
    """Train as one of the ranks that our launcher started, or somebody's torchrun."""
    first = os.environ.get("RANK") == "0"
    if launched_by_us():
        end_with_launcher()
    else:
        check(settings, launched=True)
        if first:
            _prepare(settings, out)
    _train(settings)
    if first:
        _finish(settings, out)


def _finish(settings: PretrainSettings, out: Path) -> None:
    """Export the weights; a run that was told to end is only said to go on later."""
    done = newest_step(out)
    if done < settings.steps:
        print(
            f"stopped by SIGTERM after step {done} of {settings.steps}; the same command goes on "
            "from there",
            flush=True,
        )
        return
    from bionemo_ext.recipes.card import write_card
    from bionemo_ext.recipes.checkpoint import to_huggingface

    to_huggingface(out, out / "huggingface")
    write_card(out / "huggingface", out)
    print(f"weights: {out / 'huggingface'}", flush=True)


def _prepare(settings: PretrainSettings, out: Path) -> None:
    """Make the run's folder, or see that the one that is there holds the same model."""
    known, newest = out / RUN_FILE, newest_checkpoint(out)
    plain = OmegaConf.create(json.loads(json.dumps(asdict(settings))))
    plain.data.fingerprint = [
        fingerprint(data_path(source))
        for source in (settings.data.train, settings.data.validation)
        if source
    ]
    if newest is not None and known.is_file():
        before = OmegaConf.load(known)
        for key in _FIXED:
            if OmegaConf.select(before, key) != OmegaConf.select(plain, key):
                raise CheckpointError(
                    f"{out} holds a run with another {key}; choose another out= or "
                    "go on with the same"
                )
        if before.data.get("fingerprint", plain.data.fingerprint) != plain.data.fingerprint:
            raise CheckpointError(
                f"the data of {out} has changed since the run began: {settings.data.train} is not "
                "what it was; choose another out= or bring the data back"
            )
        print(f"{out} has {newest.name}", flush=True)
    elif out.is_dir() and any(out.iterdir()) and not known.is_file():
        raise CheckpointError(f"{out} is neither empty nor a run's folder; choose another out=")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {out} cannot be made: {error.strerror}") from None
    with whole(known) as new:
        OmegaConf.save(plain, new)


def _train(settings: PretrainSettings) -> None:
    # Torch, Megatron and NeMo take seconds to import: only ranks need them.
    from bionemo_ext.recipes.training import train

    train(settings)
