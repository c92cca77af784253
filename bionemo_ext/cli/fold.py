"""``bionemo-ext fold``."""

from pathlib import Path
from typing import Annotated

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.source import Source


@options.spread
def fold(
    fasta: options.FastaArgument,
    out: Annotated[
        Path,
        typer.Option(help="Folder to make: NAME.pdb, and NAME.json of how far it can be trusted."),
    ],
    server: options.ServerOptions,
    job: options.JobOptions,
) -> None:
    """Predict the structure of each protein with a running server's ESMFold.

    Proteins beyond its limit are refused: a cut chain folds otherwise.
    """
    from bionemo_ext.client.files.structures import check_out_folder, write_structures
    from bionemo_ext.contract import FOLD, PAE, PDB, PLDDT, PTM

    check_out_folder(out)
    with server.connect() as client:
        question = query.Question("folding", query.endpoint(client, FOLD), (PDB, PLDDT, PAE, PTM))
        source = Source(fasta, job.policy("refuse"), client.limit(FOLD), job.skip_bad)
        query.run(client, question, source, out, [query.Output(out, write_structures)], job)
