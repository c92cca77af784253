"""``bionemo-ext embed``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bionemo_ext.cli import query


def embed(
    fasta: query.FastaArgument,
    url: query.UrlOption,
    out: Annotated[Path, typer.Option(help="File to write: x.npz, x.h5 or x.parquet.")],
    pooling: Annotated[
        Literal["mean", "cls", "max"], typer.Option(help="How residues become one vector.")
    ] = "mean",
    residues: Annotated[
        bool, typer.Option("--residues", help="Write one vector a residue too.")
    ] = False,
    long: query.LongOption = "truncate",
    unknown_to_x: query.UnknownOption = False,
    model: query.ModelOption = "esm2",
    timeout: query.TimeoutOption = 600.0,
    as_json: query.JsonOption = False,
) -> None:
    """Embed the proteins of a FASTA file with a running server."""
    from bionemo_ext.client import Client
    from bionemo_ext.client.files import EMBEDDING_SUFFIXES, check_out, write_embeddings
    from bionemo_ext.contract import RESIDUES
    from bionemo_ext.sequences import read_fasta

    check_out(out, EMBEDDING_SUFFIXES)
    policy = query.make_policy(long, unknown_to_x)
    outputs = (pooling, RESIDUES) if residues else (pooling,)
    with Client(url, timeout_s=timeout, model=model) as client:
        looked = query.survey(fasta, policy)
        limit = client.limit()
        total = looked and looked.residues_to_send(limit, policy)
        tally = query.Tally()
        with query.progress(total, "embedding") as advance:
            results = client.stream(
                read_fasta(fasta, policy), outputs, policy=policy, on_progress=advance
            )
            write_embeddings(out, tally.count(results), pooling)
    tally.report([out], as_json)
