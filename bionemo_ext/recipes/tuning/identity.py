"""Whose run a folder holds: one that was begun is only gone on with if it is the same."""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bionemo_ext.errors import CheckpointError
from bionemo_ext.inference.task import TaskSpec
from bionemo_ext.recipes.finetune.settings import FinetuneSettings
from bionemo_ext.recipes.runs import newest_checkpoint
from bionemo_ext.tasks.examples import LabelledSet
from bionemo_ext.tasks.targets import Targets
from bionemo_ext.whole import whole

TUNING_FILE = "tuning.yaml"

# What a run may not change halfway: going on would not be the same run.
_FIXED = (
    "encoder_digest",
    "labels_digest",
    "mode",
    "lora",
    "task.head",
    "task.class_weights",
    "training.batch",
    "training.lr",
    "training.weight_decay",
    "training.clip",
    "precision.arithmetic",
    "parallel.distributed_optimizer",
    "seed",
)


def claim(settings: FinetuneSettings, spec: TaskSpec, data: LabelledSet, targets: Targets) -> None:
    """Write ``tuning.yaml``, or see that the folder's checkpoints are of the same run.

    Parameters
    ----------
    settings, spec, data, targets
        The run, as :func:`bionemo_ext.recipes.tuning.run.tune` has them.

    Raises
    ------
    CheckpointError
        Names what is another.
    """
    out = Path(settings.out)
    plain = OmegaConf.create(json.loads(json.dumps(asdict(settings))))
    plain.encoder_digest = spec.encoder_digest
    plain.labels_digest = _labels_digest(data.train, targets.train)
    if newest_checkpoint(out) is not None and (out / TUNING_FILE).is_file():
        _check_same(out, OmegaConf.load(out / TUNING_FILE), plain)
    else:
        out.mkdir(parents=True, exist_ok=True)
        (out / "task.json").unlink(missing_ok=True)  # a folder that has it is whole
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    with whole(out / TUNING_FILE) as new:
        OmegaConf.save(plain, new)


def _check_same(out: Path, before: Any, now: Any) -> None:
    for key in _FIXED:
        if OmegaConf.select(before, key) != OmegaConf.select(now, key):
            raise CheckpointError(
                f"{out} holds a run with another {key}; choose another out= or go on with the same"
            )


def _labels_digest(examples: list[Any], targets: list[Any]) -> str:
    digest = hashlib.sha256()
    for example, target in zip(examples, targets, strict=True):
        digest.update(example.sequence.encode())
        digest.update(target.tobytes())
    return digest.hexdigest()
