"""``bionemo-ext embed``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.embedding import EmbeddingOptions
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
    embedding: EmbeddingOptions,
) -> None:
    """Embed the proteins of a FASTA file with a running server.

    Stopped at any moment, the same command goes on where it stopped.
    """
    from bionemo_ext.client.files.embeddings import EMBEDDING_SUFFIXES, write_embeddings
    from bionemo_ext.whole import check_out

    check_out(out, EMBEDDING_SUFFIXES)
    if embedding.residues and out.suffix.lower() == ".tsv":
        raise InputError(
            f"{out} holds one vector a protein; --residues needs .npz, .h5 or .parquet"
        )
    with server.connect() as client:
        question = embedding.question(client)
        source = Source(fasta, job.policy(embedding.long), client.limit(), job.skip_bad)
        write = partial(write_embeddings, pooling=embedding.pooling)
        # The names, and then each array of an npz.
        passes = 1 + len(question.outputs) if out.suffix.lower() == ".npz" else 1
        written = [query.Output(out, write, passes)]
        query.run(client, question, source, out, written, job)
