"""Fine-tune a task as a command does it, and say how good it is."""

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import read_config
from bionemo_ext.inference.predictor import ADAPTER, OWN_ENCODER, open_task
from bionemo_ext.inference.task import TaskSpec, save_task
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.finetune import evaluate
from bionemo_ext.recipes.finetune.cache import EmbeddingCache
from bionemo_ext.recipes.finetune.epochs import EpochLog, Row
from bionemo_ext.recipes.finetune.features import (
    Embeddings,
    cache_folder,
    fill,
    load_encoder,
    open_cache,
)
from bionemo_ext.recipes.finetune.head_training import predict_all, train_head
from bionemo_ext.recipes.finetune.preflight import check
from bionemo_ext.recipes.finetune.prepare import Prepared, for_encoder, model_folder, prepare
from bionemo_ext.recipes.finetune.settings import FinetuneSettings, Mode
from bionemo_ext.recipes.finetune.show import show
from bionemo_ext.recipes.ranks import (
    end_with_launcher,
    in_rank,
    launched_by_us,
    prepare_environment,
)
from bionemo_ext.tasks.metrics import Scores, main_metric
from bionemo_ext.whole import whole

RESULT = "result.json"


def run(overrides: Sequence[str], bar: Bar = silent) -> dict[str, Any]:
    """Fine-tune as ``conf/finetune.yaml`` and the overrides say.

    Writes to the folder ``out`` what :mod:`bionemo_ext.inference.predictor` reads, and
    ``result.json``, ``metrics.jsonl``, ``predictions.parquet`` and pictures.

    Returns
    -------
    dict
        What ``result.json`` holds: test scores with intervals, those of the same head without an
        encoder, and of always giving the most frequent class or the mean. Empty in a rank, and
        where the run was told to end.

    Raises
    ------
    ConfigError, DataError, CheckpointError
        If settings, labels or encoder cannot be used.
    RunError
        If a rank fails, or the disk has no room.
    """
    settings = compose("finetune", overrides, FinetuneSettings)
    job = _job(settings, bar)
    if in_rank():
        prepare_environment(settings.parallel.tensor)
        ours, first = launched_by_us(), os.environ["RANK"] == "0"
        if ours:
            end_with_launcher()
        _work_on_ranks(job)
        return {} if ours or not first else _finish(job, bar)
    if settings.parallel.devices > 1:
        from bionemo_ext.recipes.launch import run_ranks

        parallel = settings.parallel
        run_ranks(["finetune", *overrides], parallel.devices, parallel.tensor)
    elif settings.mode is not Mode.FROZEN:
        _work_on_ranks(job)
    return _finish(job, bar)


@dataclass(frozen=True)
class _Job:
    settings: FinetuneSettings
    encoder: Path  # a Hugging Face folder
    spec: TaskSpec
    prepared: Prepared
    began: float

    @property
    def out(self) -> Path:
        return Path(self.settings.out)


def _job(settings: FinetuneSettings, bar: Bar) -> _Job:
    began = time.monotonic()
    folder = model_folder(Path(settings.encoder))
    architecture = read_config(folder)
    check(settings, architecture)
    limit = min(settings.max_residues, architecture.max_residues)
    prepared = prepare(settings.task, Path(settings.flip), limit, settings.seed, bar)
    try:
        Path(settings.out).mkdir(parents=True, exist_ok=True)
        # Written last, it says that a folder is whole.
        (Path(settings.out) / RESULT).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {settings.out} cannot be made: {error.strerror}") from None
    return _Job(settings, folder, for_encoder(prepared.spec, folder), prepared, began)


def _work_on_ranks(job: _Job) -> None:
    """What needs Megatron: train, or embed with an encoder that is spread over ranks."""
    settings = job.settings
    if settings.mode is not Mode.FROZEN:
        from bionemo_ext.recipes.tuning import tune

        tune(settings, job.spec, job.prepared.data, job.prepared.targets)
        return
    from bionemo_ext.recipes.tuning import RankEncoder

    encoder = RankEncoder(job.encoder, settings.parallel, settings.precision)
    with _cache(job) as cache:
        if os.environ["RANK"] == "0" and cache.missing(job.prepared.sequences):
            fill(cache, lambda: encoder, job.prepared.sequences, settings.max_tokens)
        else:  # the first rank says what to embed, all of them do it
            deque(encoder.embed([], settings.max_tokens), maxlen=0)


def _cache(job: _Job) -> EmbeddingCache:
    settings = job.settings
    root = cache_folder(settings.cache.folder)
    return open_cache(root, job.spec, settings.arithmetic, settings.cache.dtype.value)


def _finish(job: _Job, bar: Bar) -> dict[str, Any]:
    """Train the head of a frozen encoder, predict the test proteins and say how good that is."""
    settings, prepared = job.settings, job.prepared
    if settings.mode is Mode.FROZEN:
        predicted = _train_on_frozen(job, bar)
    elif not (job.out / "task.json").is_file():
        print(f"{job.out} was stopped by SIGTERM; the same command goes on from its last epoch")
        return {}
    else:
        base = load_encoder(job.encoder, "float32")
        with bar("predicting", len(prepared.data.test), "proteins") as advance:
            predicted = evaluate.predict_test(
                open_task(job.out, base), prepared.part("test"), settings.max_tokens, advance
            )
    found = evaluate.scores(prepared, predicted, settings.seed)
    show(job.out, prepared, predicted, found)
    result = _result(job, found, bar)
    with whole(job.out / RESULT) as new:
        new.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _train_on_frozen(job: _Job, bar: Bar) -> evaluate.Predictions:
    settings, prepared, spec = job.settings, job.prepared, job.spec
    with _cache(job) as cache:
        fill(
            cache,
            lambda: load_encoder(job.encoder, cache.key.arithmetic),
            prepared.sequences,
            settings.max_tokens,
            bar,
        )
        features = Embeddings(cache)
        with (
            bar("training the head", settings.training.epochs, "epochs") as advance,
            EpochLog(job.out) as log,
        ):

            def on_epoch(row: Row) -> None:
                log(row)
                advance(1)

            head = train_head(
                spec,
                prepared.part("train"),
                prepared.part("validation"),
                features,
                settings.training,
                lr=settings.lr,
                seed=settings.seed,
                class_weights=settings.task.class_weights,
                on_epoch=lambda row: (log(row), advance(1)),
            )
        for other in (ADAPTER, OWN_ENCODER):  # of an earlier run in another mode
            shutil.rmtree(job.out / other, ignore_errors=True)
        save_task(job.out, spec, head)
        return predict_all(spec, head, prepared.part("test").sequences, features)


def _result(job: _Job, found: Scores, bar: Bar) -> dict[str, Any]:
    settings, prepared, spec = job.settings, job.prepared, job.spec
    result: dict[str, Any] = {
        "task": spec.name,
        "level": spec.level.value,
        "kind": spec.kind.value,
        "mode": settings.mode.value,
        "metric": main_metric(spec.kind),
        "test": found.values,
        "intervals": found.intervals,
    }
    if settings.baselines:
        with bar("the same without an encoder", None, ""):
            one_hot = evaluate.without_encoder(prepared, settings)
        result["one_hot"] = evaluate.scores(prepared, one_hot, settings.seed).values
    constant = evaluate.constant(prepared)
    result[evaluate.constant_name(spec.kind)] = evaluate.scores(
        prepared, constant, settings.seed
    ).values
    result["classes"] = list(spec.classes)
    result["counts"] = prepared.data.counts
    result["unlabelled"] = prepared.data.unlabelled
    result["drawn"] = list(prepared.data.drawn)
    result["seconds"] = round(time.monotonic() - job.began, 1)
    return result
