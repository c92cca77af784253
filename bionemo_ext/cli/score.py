"""``bionemo-ext score``."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.source import Source
from bionemo_ext.errors import DataError, InputError

if TYPE_CHECKING:
    from bionemo_ext.client import Result
    from bionemo_ext.client.mutants import Mutants
    from bionemo_ext.contract import Endpoint
    from bionemo_ext.sequences import Record


@options.spread
def score(
    fasta: options.FastaArgument,
    mutants: Annotated[
        str,
        typer.Option(
            help="A24G,A24G:L30P; or x.csv with the column mutant, and name if of several proteins."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write: x.csv, x.json or x.parquet.")],
    server: options.ServerOptions,
    job: options.JobOptions,
    method: options.MethodOption = "wildtype",
) -> None:
    """Score variants of each protein, with a running server.

    A score is the sum of log p(mutant) - log p(wild type) over a variant's substitutions. Proteins
    beyond the model's limit are refused.
    """
    from bionemo_ext.client.files import check_out
    from bionemo_ext.client.mutants import read_mutants
    from bionemo_ext.client.mutation_files import SCORE_SUFFIXES, write_scores
    from bionemo_ext.contract import METHOD, MUTANTS, SCORE

    check_out(out, SCORE_SUFFIXES)
    listed = read_mutants(mutants)
    with server.connect() as client:
        name = query.endpoint(client, f"{server.model}_mutation_effect")
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
