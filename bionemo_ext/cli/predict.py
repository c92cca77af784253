"""``bionemo-ext predict``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from bionemo_ext.cli import query


def predict(
    fasta: query.FastaArgument,
    url: query.UrlOption,
    task: Annotated[list[str], typer.Option(help="Task to predict; may be given often.")],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: x.json, x.csv or x.parquet; of several tasks x.TASK.json."
        ),
    ],
    long: query.LongOption = "truncate",
    unknown_to_x: query.UnknownOption = False,
    timeout: query.TimeoutOption = 600.0,
    as_json: query.JsonOption = False,
) -> None:
    """Predict tasks for the proteins of a FASTA file with a running server.

    Several tasks cost one pass of the encoder that they share.
    """
    from bionemo_ext.client import Client
    from bionemo_ext.client.files import check_out
    from bionemo_ext.client.prediction_files import PREDICTION_SUFFIXES, prediction_file
    from bionemo_ext.sequences import read_fasta

    tasks = list(dict.fromkeys(task))
    several = len(tasks) > 1
    files = [out.with_suffix(f".{name}{out.suffix}") if several else out for name in tasks]
    for file in files:
        check_out(file, PREDICTION_SUFFIXES)
    policy = query.make_policy(long, unknown_to_x)
    with Client(url, timeout_s=timeout) as client, ExitStack() as stack:
        looked = query.survey(fasta, policy)
        infos = [client.task(name) for name in tasks]
        limit = client.limit(tasks[0])
        total = looked and looked.residues_to_send(limit, policy)
        tally = query.Tally()
        writers = [
            stack.enter_context(prediction_file(file, info))
            for file, info in zip(files, infos, strict=True)
        ]
        advance = stack.enter_context(query.progress(total, f"predicting {', '.join(tasks)}"))
        for result, predictions in client.stream_predictions(
            read_fasta(fasta, policy), tasks, policy=policy, on_progress=advance
        ):
            tally.note(result)
            for write, prediction in zip(writers, predictions, strict=True):
                write(prediction)
    tally.report(files, as_json)
