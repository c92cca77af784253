"""``bionemo-ext scan``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.drawing import Picture
from bionemo_ext.cli.source import Source

if TYPE_CHECKING:
    from bionemo_ext.client import Result


@options.spread
def scan(
    fasta: options.FastaArgument,
    out: Annotated[Path, typer.Option(help="File to write: x.npz, x.csv or x.parquet.")],
    server: options.ServerOptions,
    job: options.JobOptions,
    method: options.MethodOption = "wildtype",
    picture: options.PictureOption = None,
) -> None:
    """Predict the effect of every substitution of each protein, with a running server.

    Proteins beyond the model's limit are refused.
    """
    from bionemo_ext.client.files import check_out
    from bionemo_ext.client.mutation_files import SCAN_SUFFIXES, write_scans
    from bionemo_ext.contract import METHOD, SCAN

    check_out(out, SCAN_SUFFIXES)
    with server.connect() as client:
        name = query.endpoint(client, f"{server.model}_mutation_effect")
        question = query.Question(
            "scanning", name, (SCAN,), {"method": method}, inputs={METHOD: method}
        )
        source = Source(fasta, job.policy("refuse"), client.limit(name), job.skip_bad)
        write = partial(write_scans, method=method)
        passes = 2 if out.suffix.lower() == ".npz" else 1  # the names come first
        drawn = Picture(picture, _draw) if picture else None
        query.run(client, question, source, out, [query.Output(out, write, passes)], job, drawn)


def _draw(path: Path, result: "Result") -> None:
    from bionemo_ext.client.pictures import draw_scan
    from bionemo_ext.contract import SCAN

    draw_scan(path, result.name, result.sequence, result.values[SCAN])
