"""``bionemo-ext contacts``."""

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
def contacts(
    fasta: options.FastaArgument,
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: x.npz of whole maps by name, or x.csv, x.parquet of contacts."
        ),
    ],
    server: options.ServerOptions,
    job: options.JobOptions,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least probability of a contact in a table.")
    ] = 0.3,
    separation: Annotated[
        int, typer.Option(min=1, help="Least distance along the chain of one in a table.")
    ] = 6,
    picture: options.PictureOption = None,
) -> None:
    """Predict which residues of each protein touch, with a running server.

    Proteins beyond the model's limit are refused: a cut chain has other contacts.
    """
    from bionemo_ext.client.files.contacts import CONTACT_SUFFIXES, write_contacts
    from bionemo_ext.contract import CONTACTS
    from bionemo_ext.whole import check_out

    check_out(out, CONTACT_SUFFIXES)
    with server.connect() as client:
        name = query.endpoint(client, f"{server.model}_contacts")
        question = query.Question("predicting contacts", name, (CONTACTS,))
        source = Source(fasta, job.policy("refuse"), client.limit(name), job.skip_bad)
        write = partial(write_contacts, threshold=threshold, separation=separation)
        drawn = Picture(picture, _draw) if picture else None
        query.run(client, question, source, out, [query.Output(out, write)], job, drawn)


def _draw(path: Path, result: "Result") -> None:
    from bionemo_ext.client.files.pictures import draw_contacts
    from bionemo_ext.contract import CONTACTS

    draw_contacts(path, result.name, result.values[CONTACTS])
