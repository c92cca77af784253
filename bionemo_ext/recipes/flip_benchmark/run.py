"""Run every task with every model, and tell it in one table beside what was published."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bionemo_ext.contract import Kind
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.errors import BionemoExtError, ConfigError, DataError
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.finetune.prepare import Prepared, prepare
from bionemo_ext.recipes.finetune.settings import FinetuneSettings
from bionemo_ext.recipes.flip_benchmark.cells import (
    Cell,
    compute,
    finished,
    split_name,
    task_name,
)
from bionemo_ext.recipes.flip_benchmark.models import Model, choose
from bionemo_ext.recipes.flip_benchmark.plots import draw_tasks
from bionemo_ext.recipes.flip_benchmark.table import Row, summarise, write_tables
from bionemo_ext.tasks.catalogue import TASKS, flip_task
from bionemo_ext.tasks.loading import locate

ALL = "all"
FLIP = "flip:"
# Tracebacks of what was not foreseen.
LOG = "failures.log"
# Keys of finetune that the benchmark sets itself or that a frozen encoder has no use for.
_NOT_TAKEN = ("encoder", "out", "task", "task.split", "flip", "seed", "mode", "baselines")
_SECTIONS_NOT_TAKEN = ("parallel", "lora", "recompute")

Result = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Benchmark:
    """What is asked for.

    Parameters
    ----------
    models : sequence of str
        As :func:`bionemo_ext.recipes.flip_benchmark.models.choose` takes them.
    tasks : sequence of str
        Files of ``conf/task`` or the user's own; ``all`` are those of FLIP that ``data`` has.
    data : Path
        Root of FLIP's data.
    out : Path
        Folder of results; those of an earlier run are used again.
    seeds : int
        How many trainings of a head, with the seeds from 0.
    splits : mapping of str to sequence of str
        Of a task by its name, where not the usual one; ``all`` are all of FLIP's.
    overrides : sequence of str
        Any other key of ``conf/finetune.yaml``, as ``training.epochs=8``.
    """

    models: Sequence[str]
    tasks: Sequence[str]
    data: Path
    out: Path
    seeds: int = 3
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    overrides: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """What came of it.

    Parameters
    ----------
    rows : list of Row
        Of the table.
    failures : list of str
        A sentence for each model or task that failed.
    """

    rows: list[Row]
    failures: list[str]


def run_benchmark(
    benchmark: Benchmark, bar: Bar = silent, tell: Tell = lambda line: None
) -> Report:
    """Run what is missing, and write ``table.md``, ``table.csv``, ``table.json`` and the plots.

    Parameters
    ----------
    benchmark : Benchmark
        Tasks and models.
    bar : Bar
        Is told of trainings, and of what goes on within them.
    tell : callable
        Is given a line as each result is there.

    Returns
    -------
    Report
        What fails does not keep the rest from being had.

    Raises
    ------
    ConfigError, CheckpointError, DataError
        If a task, split or model cannot be what was meant; before anything is run.
    """
    jobs = _jobs(benchmark)
    models = choose(benchmark.models)
    for settings in jobs:
        for model in models:
            model.check(settings)
    benchmark.out.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    failures: list[str] = []
    with bar("benchmark", len(jobs) * len(models) * benchmark.seeds, "") as advance:
        for settings in jobs:
            labels: dict[int, Prepared] = {}
            for model in models:
                try:
                    prepared = _prepared(labels, settings, model, bar)
                except BionemoExtError as error:
                    failures.append(f"{task_name(settings)}: {error}")
                    advance(len(models) * benchmark.seeds)
                    break
                cells = _cells(benchmark, settings, model, prepared)
                results += _run_cells(cells, benchmark.out, failures, bar, tell)
                advance(benchmark.seeds)
    rows = summarise(results)
    write_tables(benchmark.out, rows, failures)
    draw_tasks(benchmark.out, rows)
    return Report(rows, failures)


def _jobs(benchmark: Benchmark) -> list[FinetuneSettings]:
    """Settings of each split of each task."""
    for word in benchmark.overrides:
        key = word.partition("=")[0]
        if key in _NOT_TAKEN or key.partition(".")[0] in _SECTIONS_NOT_TAKEN:
            raise ConfigError(f"{word}: the benchmark sets {key} itself or has no use for it")
    base = [_task_settings(benchmark, task) for task in _task_names(benchmark)]
    names = [settings.task.name for settings in base]
    for task in benchmark.splits:
        if task not in names:
            raise ConfigError(f"splits of {task!r} are given, but the tasks are {', '.join(names)}")
    return [
        replace(settings, task=replace(settings.task, split=split, kind=kind))
        for settings in base
        for split, kind in _splits(settings, benchmark.splits.get(settings.task.name)).items()
    ]


def _task_names(benchmark: Benchmark) -> list[str]:
    if ALL not in benchmark.tasks:
        return list(dict.fromkeys(benchmark.tasks))
    found = [name for name in TASKS if _is_there(name, benchmark.data)]
    if not found:
        raise DataError(f"none of FLIP's tasks is in {benchmark.data}")
    return found


def _is_there(task: str, root: Path) -> bool:
    try:
        return locate(f"{FLIP}{task}", root).exists()
    except DataError:
        return False


def _task_settings(benchmark: Benchmark, task: str) -> FinetuneSettings:
    # No encoder and no folder yet: both differ from model to model.
    words = [f"task={task}", f"flip={benchmark.data}", "encoder=-", "out=-"]
    return compose("finetune", [*benchmark.overrides, *words], FinetuneSettings)


def _splits(settings: FinetuneSettings, wanted: Sequence[str] | None) -> dict[str | None, Kind]:
    """Splits to run, and what kind of label each has."""
    task = settings.task
    if not task.data.startswith(FLIP):
        return dict.fromkeys(wanted or [task.split], task.kind)
    known = flip_task(task.data.removeprefix(FLIP))
    wanted = wanted or [task.split or known.default]
    if ALL in wanted:
        wanted = list(known.splits)
    for split in wanted:
        if split not in known.splits:
            there = ", ".join(known.splits)
            raise ConfigError(f"FLIP's {known.name} has no split {split!r}; it has {there}")
    return {split: known.splits[split].kind or task.kind for split in wanted}


def _prepared(
    labels: dict[int, Prepared], settings: FinetuneSettings, model: Model, bar: Bar
) -> Prepared:
    """Labels, read once for all models that take as many residues."""
    limit = model.max_residues(settings.max_residues)
    if limit not in labels:
        labels[limit] = prepare(settings.task, Path(settings.flip), limit, settings.seed, bar)
    return labels[limit]


def _cells(
    benchmark: Benchmark, settings: FinetuneSettings, model: Model, prepared: Prepared
) -> list[Cell]:
    seeds = 1 if model.fixed(prepared) else benchmark.seeds
    folder = benchmark.out / settings.task.name / split_name(settings) / model.name
    return [
        Cell(model, prepared, replace(settings, seed=seed), folder / f"seed-{seed}")
        for seed in range(seeds)
    ]


def _run_cells(
    cells: Sequence[Cell], out: Path, failures: list[str], bar: Bar, tell: Tell
) -> list[Result]:
    """Results of one model; what makes one seed fail makes the others fail too."""
    results: list[Result] = []
    for cell in cells:
        try:
            earlier = finished(cell)
            result = earlier or compute(cell, bar)
        except BionemoExtError as error:
            failures.append(f"{cell}: {error}")
            break
        except Exception as error:
            with (out / LOG).open("a") as log:
                log.write(f"{cell}\n{traceback.format_exc()}\n")
            told = " ".join(str(error).split())
            failures.append(f"{cell}: {type(error).__name__}: {told} (see {out / LOG})")
            break
        results.append(result)
        when = "from an earlier run" if earlier else f"{result['seconds']:.1f} s"
        tell(f"{cell}: {result['metric']} {result['values'][result['metric']]:.3f}, {when}")
    return results
