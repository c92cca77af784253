"""``bionemo-ext predict``."""

from pathlib import Path
from typing import Annotated

import typer

from bionemo_ext.cli import query


def predict(
    fasta: query.FastaArgument,
    url: query.UrlOption,
    task: Annotated[str, typer.Option(help="Task to predict.")],
    out: Annotated[Path, typer.Option(help="File to write: x.json, x.csv or x.parquet.")],
    long: query.LongOption = "truncate",
    unknown_to_x: query.UnknownOption = False,
    timeout: query.TimeoutOption = 600.0,
    as_json: query.JsonOption = False,
) -> None:
    """Predict a task for the proteins of a FASTA file with a running server."""
    from bionemo_ext.client import Client, Prediction
    from bionemo_ext.client.files import check_out
    from bionemo_ext.client.prediction_files import PREDICTION_SUFFIXES, write_predictions
    from bionemo_ext.contract import PREDICTION
    from bionemo_ext.sequences import read_fasta

    check_out(out, PREDICTION_SUFFIXES)
    policy = query.make_policy(long, unknown_to_x)
    with Client(url, timeout_s=timeout) as client:
        looked = query.survey(fasta, policy)
        info = client.task(task)
        limit = client.limit(task)
        total = looked and looked.residues_to_send(limit, policy)
        tally = query.Tally()
        with query.progress(total, f"predicting {task}") as advance:
            results = client.stream(
                read_fasta(fasta, policy), (PREDICTION,), task, policy=policy, on_progress=advance
            )
            predictions = (
                Prediction(result.name, result.sequence, info, result.values[PREDICTION])
                for result in tally.count(results)
            )
            write_predictions(out, predictions, info)
    tally.report(out, as_json)
