"""Write a Triton model repository that needs nothing beside it."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bionemo_ext.contract import (
    ENCODER_FOLDER,
    HOST,
    TASKS_FOLDER,
    Endpoint,
    Kind,
    Level,
    TaskInfo,
    encoder_endpoint,
    task_endpoint,
    to_pbtxt,
)
from bionemo_ext.errors import InputError
from bionemo_ext.export.source import copy_huggingface, take_huggingface
from bionemo_ext.export.tasks import copy_task
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import open_task
from bionemo_ext.recipes.card import describe
from bionemo_ext.resources import resource

_TASK_TEMPLATE = "task"


def templates() -> dict[str, Endpoint]:
    """Describe the endpoints of ``triton_models/``, whose sizes are not known yet."""
    task = task_endpoint(TaskInfo(_TASK_TEMPLATE, Level.SEQUENCE, Kind.REGRESSION))
    outputs = (replace(task.outputs[0], dims=(-1,)), *task.outputs[1:])
    return {HOST: encoder_endpoint(), _TASK_TEMPLATE: replace(task, outputs=outputs)}


def export(
    source: Path,
    out: Path,
    tasks: Sequence[Path] = (),
    *,
    dtype: str = "float32",
    merge: bool = False,
    force: bool = False,
) -> list[Endpoint]:
    """Write ``out/huggingface`` and ``out/triton``, whole or not at all.

    Parameters
    ----------
    source : Path
        A Hugging Face folder, or a run folder or checkpoint of pretraining.
    out : Path
        Where to write.
    tasks : sequence of Path
        Task folders that fine-tuning made: frozen and adapted ones with this very encoder, and
        such as have an encoder of their own.
    dtype : {"float32", "bfloat16"}
        Precision that the server computes in.
    merge : bool
        Give a task with an adapter weights of its own, into which it is merged: a little faster,
        and more memory. Kept apart, any number of adapters share the encoder's weights.
    force : bool
        Replace what is at ``out``.

    Returns
    -------
    list of Endpoint
        What the repository serves.

    Raises
    ------
    InputError
        If ``out`` exists, or a task's name cannot be an endpoint's.
    CheckpointError
        If a folder is missing or damaged, or a task belongs to another encoder.
    """
    if out.exists() and not force:
        raise InputError(f"{out} exists; give --force to replace it")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        encoder = Encoder.load(take_huggingface(source, partial / "huggingface"))
        endpoints = _write_repository(partial, encoder, tasks, dtype, merge)
        describe(partial / "huggingface", source)
        _swap(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return endpoints


def _write_repository(
    folder: Path, encoder: Encoder, tasks: Sequence[Path], dtype: str, merge: bool
) -> list[Endpoint]:
    opened = [open_task(path, encoder) for path in tasks]
    infos = [task.spec.info for task in opened]
    limit = min(e.config.max_residues for e in [encoder, *(task.encoder for task in opened)])
    names = [info.name for info in infos]
    if len(set(names)) < len(names):
        raise InputError(f"two tasks have one name: {', '.join(sorted(names))}")

    host = encoder_endpoint(encoder.hidden_size, limit, infos, digest=encoder.digest, dtype=dtype)
    version = _write_endpoint(folder / "triton", host, HOST)
    copy_huggingface(folder / "huggingface", version / ENCODER_FOLDER)
    for path, name in zip(tasks, names, strict=True):
        copy_task(path, version / TASKS_FOLDER / name, merge_into=encoder if merge else None)

    thin = [task_endpoint(info, limit) for info in infos]
    for endpoint in thin:
        _write_endpoint(folder / "triton", endpoint, _TASK_TEMPLATE)
    return [host, *thin]


def _write_endpoint(repository: Path, endpoint: Endpoint, template: str) -> Path:
    """Write one endpoint's configuration and code; gives its version folder."""
    version = repository / endpoint.name / "1"
    version.mkdir(parents=True)
    shutil.copy2(resource("triton_models") / template / "1" / "model.py", version / "model.py")
    (repository / endpoint.name / "config.pbtxt").write_text(to_pbtxt(endpoint))
    return version


def _swap(new: Path, out: Path) -> None:
    """Put ``new`` in the place of ``out``; what was there goes only once the new one stands."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.replace(old)
    new.replace(out)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)
