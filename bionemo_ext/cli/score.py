"""``bionemo-ext score``."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.scans import score_records, score_table
from bionemo_ext.cli.source import Source
from bionemo_ext.errors import DataError, InputError

if TYPE_CHECKING:
    from bionemo_ext.client import Client, Result
    from bionemo_ext.client.mutants import Mutants
    from bionemo_ext.contract import Endpoint
    from bionemo_ext.sequences import Record


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
            help="A24G,A24G:L30P; or x.csv with the column mutant, and name if of several proteins."
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
        int, typer.Option(help="What a scan's positions count too many: residue 1 is 1 + OFFSET.")
    ] = 0,
    dms: Annotated[
        bool, typer.Option("--dms", help="Say how well the scores rank what a scan measured.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Scores over measurements, x.png or x.svg; implies --dms.")
    ] = None,
) -> None:
    """Score variants: of each protein of a FASTA, or of a deep mutational scan.

    A score compares a variant with the wild type by a model's log-probabilities; above 0 the model
    prefers the variant. In scans, and with the methods mutant and pll, proteins beyond the model's
    limit are seen through windows; else they are refused.
    """
    if proteins.lower().endswith(".csv"):
        with server.connect() as client:
            score_table(
                client, Path(proteins), out, method=method, wildtype=wildtype, offset=offset,
                compare=dms, picture=picture, as_json=job.as_json,
            )  # fmt: skip
        return
    _refuse_of_scans(dms or picture is not None or wildtype is not None or offset != 0)
    if mutants is None:
        raise InputError("--mutants is needed, for example --mutants A24G,A24G:L30P")
    from bionemo_ext.client.mutants import read_mutants

    by_logits = method in ("mutant", "pll")  # the endpoint of mutation effects has neither
    listed = read_mutants(mutants)
    with server.connect() as client:
        (score_records if by_logits else _score)(client, proteins, listed, out, method, job)


def _refuse_of_scans(given: bool) -> None:
    if given:
        raise InputError(
            "--dms, --picture, --wildtype and --offset are for scans, which end in .csv"
        )


def _score(
    client: "Client",
    fasta: str,
    listed: "Mutants",
    out: Path,
    method: str,
    job: options.JobOptions,
) -> None:
    """By the endpoint of mutation effects; a job that goes on where it stopped."""
    from bionemo_ext.client.files import check_out
    from bionemo_ext.client.mutation_files import SCORE_SUFFIXES, write_scores
    from bionemo_ext.contract import METHOD, MUTANTS, SCORE

    check_out(out, SCORE_SUFFIXES)
    name = query.endpoint(client, f"{client.model}_mutation_effect")
    source = Variants(
        fasta, job.policy("refuse"), client.limit(name), job.skip_bad,
        listed=listed, endpoint=client.models()[name], masked=method == "masked",
    )  # fmt: skip
    question = query.Question(
        "scoring",
        name,
        (SCORE,),
        {"method": method, "mutants": listed.digest},
        inputs={METHOD: method, MUTANTS: lambda position: ",".join(source.shares[position])},
    )

    def write(path: Path, results: "Collection[Result]") -> None:
        write_scores(path, results, source.shares, method)

    query.run(client, question, source, out, [query.Output(out, write)], job)


@dataclass(kw_only=True)
class Variants(Source):
    """Records as often as their variants need requests.

    Parameters
    ----------
    listed : Mutants
        What is to be scored.
    endpoint : Endpoint
        Says how many variants a request may have.
    masked : bool
        Whether each variant takes a pass of its own.
    shares : list of tuple of str
        Variants of each record that the last iteration yielded.
    """

    listed: "Mutants"
    endpoint: "Endpoint"
    masked: bool
    shares: list[tuple[str, ...]] = field(default_factory=list)

    def __iter__(self) -> "Iterator[Record]":
        """Yield records, those with many variants several times.

        Raises
        ------
        InputError
            As :class:`Source`, and if a variant does not fit its sequence; variants of a protein
            that is not there are told at the end.
        """
        from bionemo_ext.client.variants import shares

        self.shares.clear()
        names = set()
        for record in super().__iter__():
            names.add(record.name)
            fit = [one for one in self.listed.of(record.name) if self._fits(one, record)]
            for share in shares([record], [fit], self.endpoint, masked=self.masked):
                self.shares.append(share.variants)
                yield record
        others = self.listed.others(names)
        if others:
            raise DataError(
                f"there are variants of {len(others):,} proteins that the FASTA does not have; the "
                f"first is {others[0]!r}"
            )
        if not self.shares:
            raise DataError("no variant can be scored")

    def _fits(self, variant: str, record: "Record") -> bool:
        from bionemo_ext.contract.variants import parse_variants

        try:
            parse_variants(variant, record.sequence, record.name)
        except InputError as error:
            if not self.skip_bad:
                raise
            self._skip(record.name, error)
            return False
        return True
