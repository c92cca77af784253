"""``bionemo-ext embed``."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.source import Source
from bionemo_ext.errors import InputError


@options.spread
def embed(
    fasta: options.FastaArgument,
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: x.npz, x.h5, x.parquet or x.tsv; one that is there is replaced "
            "when the new one is whole."
        ),
    ],
    server: options.ServerOptions,
    job: options.JobOptions,
    pooling: Annotated[
        Literal["mean", "cls", "max"], typer.Option(help="How residues become one vector.")
    ] = "mean",
    residues: Annotated[
        bool, typer.Option("--residues", help="Write one vector a residue too.")
    ] = False,
    layer: Annotated[
        int, typer.Option(help="Layer to take it from: 1 is the first's output, -1 the last's.")
    ] = -1,
    long: options.LongOption = "truncate",
) -> None:
    """Embed the proteins of a FASTA file with a running server.

    Stopped at any moment, the same command goes on where it stopped.
    """
    from bionemo_ext.client.files import EMBEDDING_SUFFIXES, check_out, write_embeddings
    from bionemo_ext.contract import LAYER, RESIDUES

    check_out(out, EMBEDDING_SUFFIXES)
    if residues and out.suffix.lower() == ".tsv":
        raise InputError(
            f"{out} holds one vector a protein; --residues needs .npz, .h5 or .parquet"
        )
    with server.connect() as client:
        question = query.Question(
            "embedding",
            client.host,
            (pooling, RESIDUES) if residues else (pooling,),
            {"layer": str(layer)},
            inputs={} if layer == -1 else {LAYER: layer},
        )
        source = Source(fasta, job.policy(long), client.limit(), job.skip_bad)
        write = partial(write_embeddings, pooling=pooling)
        # The names, and then each array of an npz.
        passes = 1 + len(question.outputs) if out.suffix.lower() == ".npz" else 1
        written = [query.Output(out, write, passes)]
        query.run(client, question, source, out, written, job)
