"""``bionemo-ext score``."""

import re
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.scans import one_protein, score_table
from bionemo_ext.errors import InputError

if TYPE_CHECKING:
    from bionemo_ext.client import Client, Result
    from bionemo_ext.client.files.mutants import Mutants
    from bionemo_ext.contract.effects import Method


_FASTA = re.compile(r"\.(fasta|fas|faa|fa)(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)


@options.spread
def score(
    proteins: Annotated[
        str,
        typer.Argument(
            help="Wild types as FASTA, with --mutants; or x.csv, a deep mutational scan as "
            "ProteinGym has them (mutant, mutated_sequence, DMS_score)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write: x.csv, x.json or x.parquet.")],
    server: options.ServerOptions,
    job: options.JobOptions,
    mutants: Annotated[
        str | None,
        typer.Option(
            help="A24G,A24G:L30P or p.Ala24Gly; or x.csv with the column mutant, and name if of "
            "several proteins; or x.fasta with whole sequences, variants of one protein."
        ),
    ] = None,
    method: Annotated[
        Literal["wildtype", "masked", "mutant", "pll"],
        typer.Option(
            help="p from one pass over the wild type, with masks at a variant's sites, from a pass "
            "over the variant; or pseudo-log-likelihoods, which insertions and deletions need."
        ),
    ] = "wildtype",
    wildtype: Annotated[
        Path | None, typer.Option(help="The scan's wild type, FASTA, where it does not tell it.")
    ] = None,
    offset: Annotated[
        int, typer.Option(help="What positions count too many: the first residue is 1 + OFFSET.")
    ] = 0,
    dms: Annotated[
        bool, typer.Option("--dms", help="Say how well the scores rank what a scan measured.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Scores over measurements, x.png or x.svg; implies --dms.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Print the scan's N best variants by score.")
    ] = None,
) -> None:
    """Score variants: of each protein of a FASTA, or of a deep mutational scan.

    A score compares a variant with the wild type by a model's log-probabilities; above 0 the model
    prefers the variant. Proteins beyond the model's limit are seen through windows.
    """
    from bionemo_ext.contract.effects import Method

    chosen = Method(method)
    is_table = proteins.lower().endswith(".csv")
    if is_table and mutants is not None:
        raise InputError("a scan has its own mutants; --mutants are those of a FASTA")
    if is_table or (mutants and _FASTA.search(mutants)):
        from bionemo_ext.tasks.dms import read_scan, read_sequences

        if is_table:
            wild = wildtype and one_protein(str(wildtype))
            path, read = Path(proteins), lambda check: read_scan(path, wild, offset, check)
        else:
            path, protein = Path(mutants or ""), one_protein(proteins)
            read = partial(read_sequences, path, protein)
        with server.connect() as client:
            score_table(
                client, read, path, out, method=chosen, compare=dms, picture=picture, top=top,
                job=job,
            )  # fmt: skip
        return
    _refuse_of_scans(dms or picture is not None or wildtype is not None or top is not None)
    if mutants is None:
        raise InputError("--mutants is needed, for example --mutants A24G,A24G:L30P")
    from bionemo_ext.client.files.mutants import read_mutants

    listed = read_mutants(mutants)
    with server.connect() as client:
        _score(client, proteins, listed, out, chosen, offset, job)


def _refuse_of_scans(given: bool) -> None:
    if given:
        raise InputError("--dms, --picture, --wildtype and --top are for scans, which end in .csv")


def _score(
    client: "Client",
    fasta: str,
    listed: "Mutants",
    out: Path,
    method: "Method",
    offset: int,
    job: options.JobOptions,
) -> None:
    """Score variants of each protein; a job that goes on where it stopped."""
    from bionemo_ext.cli.variants import ByLogits, Variants
    from bionemo_ext.client.files.mutations import SCORE_SUFFIXES, write_scores
    from bionemo_ext.contract import SCORE
    from bionemo_ext.whole import check_out

    check_out(out, SCORE_SUFFIXES)
    source = Variants(
        fasta, job.policy("windows"), client.limit(), job.skip_bad,
        listed=listed, method=method, offset=offset,
    )  # fmt: skip
    about = {"method": method.value, "mutants": listed.digest, "offset": str(offset)}
    question = ByLogits(
        "scoring", client.host, (SCORE,), about, unit="variants",
        method=method, variant=source.variants.__getitem__,
    )  # fmt: skip

    def write(path: Path, results: "Collection[Result]") -> None:
        write_scores(path, results, ((name,) for name in source.names), method.value)

    query.run(client, question, source, out, [query.Output(out, write)], job)
