"""``bionemo-ext predict``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.drawing import Picture
from bionemo_ext.cli.source import Source
from bionemo_ext.errors import InputError

if TYPE_CHECKING:
    from bionemo_ext.client import Client, Result
    from bionemo_ext.contract import TaskInfo


@options.spread
def predict(
    fasta: options.FastaArgument,
    task: Annotated[list[str], typer.Option(help="Task to predict; may be given often.")],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: x.json, x.csv, x.parquet, or x.fasta of class letters; of several "
            "tasks x.TASK.json. One that is there is replaced when the new one is whole."
        ),
    ],
    server: options.ServerOptions,
    job: options.JobOptions,
    long: options.LongOption = "truncate",
    picture: options.PictureOption = None,
) -> None:
    """Predict tasks for the proteins of a FASTA file with a running server.

    Several tasks cost one pass of the encoder that they share. Stopped at any moment, the same
    command goes on where it stopped.
    """
    from bionemo_ext.client.files.predictions import (
        PREDICTION_SUFFIXES,
        check_task,
        write_predictions,
    )
    from bionemo_ext.whole import check_out

    tasks = list(dict.fromkeys(task))
    several = len(tasks) > 1
    files = [out.with_suffix(f".{name}{out.suffix}") if several else out for name in tasks]
    for file in files:
        check_out(file, PREDICTION_SUFFIXES)
    with server.connect() as client:
        infos = [client.task(name) for name in tasks]
        for file, info in zip(files, infos, strict=True):
            check_task(file, info)
        question = _question(client, tasks)
        source = Source(fasta, job.policy(long), client.limit(tasks[0]), job.skip_bad)
        written = [
            query.Output(file, partial(write_predictions, task=info, output=output))
            for file, info, output in zip(files, infos, question.outputs, strict=True)
        ]
        drawn = _picture(picture, infos, question.outputs)
        query.run(client, question, source, out, written, job, drawn)


def _picture(
    path: Path | None, tasks: "list[TaskInfo]", outputs: tuple[str, ...]
) -> Picture | None:
    """Draw the track of the one task.

    Raises
    ------
    InputError
        If there are several tasks, or it is about whole proteins.
    """
    if path is None:
        return None
    if len(tasks) > 1:
        raise InputError(f"{path} shows one task; give --picture with one --task at a time")
    (task,), (output,) = tasks, outputs
    if task.level != "residue":
        raise InputError(
            f"{path} cannot show {task.name!r}, which is about whole proteins, not residues"
        )

    def draw(file: Path, result: "Result") -> None:
        from bionemo_ext.client import Prediction
        from bionemo_ext.client.files.pictures import draw_track

        draw_track(file, Prediction(result.name, result.sequence, task, result.values[output]))

    return Picture(path, draw)


def _question(client: "Client", tasks: list[str]) -> query.Question:
    """Ask the task's endpoint for one task, and the encoder's for several in one pass."""
    from bionemo_ext.contract import PREDICTION

    models = client.models()
    doing = f"predicting {', '.join(tasks)}"
    about = {f"task {name}": models[name].parameters["task"] for name in tasks}
    if len(tasks) == 1:
        return query.Question(doing, tasks[0], (PREDICTION,), about)
    hosts = sorted({models[name].host for name in tasks})
    if len(hosts) > 1:
        raise InputError(
            f"tasks of several models ({', '.join(hosts)}) have no pass to share: ask for those of "
            "one model at a time"
        )
    return query.Question(doing, hosts[0], tuple(tasks), about)
