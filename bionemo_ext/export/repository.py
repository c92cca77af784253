"""Write a Triton model repository that needs nothing beside it."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bionemo_ext.contract import (
    ENCODER_FOLDER,
    FOLD,
    TASKS_FOLDER,
    EncoderFacts,
    Endpoint,
    Kind,
    Level,
    TaskInfo,
    check_model_name,
    embed_name,
    encoder_endpoint,
    fold_endpoint,
    task_endpoint,
    to_pbtxt,
)
from bionemo_ext.errors import InputError
from bionemo_ext.export.endpoints import EMBED, TASK, THIN, describe_endpoints
from bionemo_ext.export.fold import FoldSource, copy_fold, describe_fold
from bionemo_ext.export.place import replaced
from bionemo_ext.export.source import copy_huggingface, take_huggingface
from bionemo_ext.export.tasks import copy_task
from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import open_task
from bionemo_ext.inference.task import load_task
from bionemo_ext.recipes.card import describe
from bionemo_ext.resources import resource

TRITON = "triton"
HUGGINGFACE = "huggingface"


def templates() -> dict[str, Endpoint]:
    """Describe the endpoints of ``triton_models/``, whose sizes are not known yet."""
    task = task_endpoint(TaskInfo(TASK, Level.SEQUENCE, Kind.REGRESSION))
    outputs = (replace(task.outputs[0], dims=(-1,)), *task.outputs[1:])
    facts = EncoderFacts()
    return {
        EMBED: encoder_endpoint(facts),
        **{name: describe_thin(facts) for name, describe_thin in THIN.items()},
        TASK: replace(task, outputs=outputs),
        FOLD: fold_endpoint(),
    }


def export(
    source: Path,
    out: Path,
    tasks: Sequence[Path] = (),
    *,
    name: str | None = None,
    dtype: str = "float32",
    instances: int = 1,
    merge: bool = False,
    fold: FoldSource | None = None,
    add: bool = False,
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
    name : str, optional
        What the names of the model's endpoints begin with; ``esm2`` or ``esm1nv`` when not given.
    dtype : {"float32", "bfloat16"}
        Precision that the server computes in.
    instances : int
        Processes that hold the encoder, each with a copy of it; as many a GPU where there are any.
    merge : bool
        Give a task with an adapter weights of its own, into which it is merged: a little faster,
        and more memory. Kept apart, any number of adapters share the encoder's weights.
    fold : FoldSource, optional
        An ESMFold model to serve too.
    add : bool
        Add the model to the export at ``out``; its Hugging Face folder is ``huggingface-NAME``.
    force : bool
        Replace what is at ``out``.

    Returns
    -------
    list of Endpoint
        What the model brings to the repository.

    Raises
    ------
    InputError
        If ``out`` exists, or two endpoints would have one name.
    ConfigError
        If ``name`` or a task's name cannot be an endpoint's.
    CheckpointError
        If a folder is missing or damaged, or a task belongs to another encoder.
    """
    if name is not None:
        check_model_name(name)
    with replaced(out, add=add, force=force) as partial:
        folder = partial / ".new"
        encoder = Encoder.load(take_huggingface(source, folder))
        model = name or ("esm2" if isinstance(encoder.config, ESM2Config) else "esm1nv")
        huggingface = partial / (f"{HUGGINGFACE}-{model}" if add else HUGGINGFACE)
        opened = [open_task(path, encoder) for path in tasks]
        endpoints = describe_endpoints(encoder, opened, model, dtype, instances)
        if fold:
            endpoints.append((FOLD, describe_fold(fold)))
        _refuse_clashes([endpoint for _, endpoint in endpoints], partial / TRITON, out)
        for template, endpoint in endpoints:
            write_endpoint(partial / TRITON, endpoint, template)
        _copy_models(partial / TRITON / embed_name(model) / "1", folder, encoder, tasks, merge)
        if fold:
            copy_fold(fold, partial / TRITON / FOLD / "1")
        describe(folder, source)
        folder.replace(huggingface)
    return [endpoint for _, endpoint in endpoints]


def export_fold(
    fold: FoldSource, out: Path, *, add: bool = False, force: bool = False
) -> list[Endpoint]:
    """Write ``out/triton`` with nothing but the endpoint that folds, or add it to an export.

    Raises
    ------
    InputError
        If ``out`` exists, or has such an endpoint.
    CheckpointError
        If the model's folder is missing, damaged, or of another kind of model.
    """
    with replaced(out, add=add, force=force) as partial:
        endpoint = describe_fold(fold)
        _refuse_clashes([endpoint], partial / TRITON, out)
        copy_fold(fold, write_endpoint(partial / TRITON, endpoint, FOLD))
    return [endpoint]


def _refuse_clashes(endpoints: Sequence[Endpoint], repository: Path, out: Path) -> None:
    there = {path.parent.name for path in repository.glob("*/config.pbtxt")}
    for endpoint in endpoints:
        if endpoint.name in there:
            raise InputError(
                f"{out} would have two endpoints {endpoint.name!r}; give the model another --name, "
                "or the task another name"
            )
        there.add(endpoint.name)


def _copy_models(
    version: Path, huggingface: Path, encoder: Encoder, tasks: Sequence[Path], merge: bool
) -> None:
    """Put the encoder and the tasks beside the code that serves them."""
    copy_huggingface(huggingface, version / ENCODER_FOLDER)
    for path in tasks:
        target = version / TASKS_FOLDER / load_task(path)[0].name
        copy_task(path, target, merge_into=encoder if merge else None)


def write_endpoint(repository: Path, endpoint: Endpoint, template: str) -> Path:
    """Write one endpoint's configuration and code; gives its version folder."""
    version = repository / endpoint.name / "1"
    version.mkdir(parents=True)
    shutil.copyfile(resource("triton_models") / template / "1" / "model.py", version / "model.py")
    (repository / endpoint.name / "config.pbtxt").write_text(to_pbtxt(endpoint))
    return version
