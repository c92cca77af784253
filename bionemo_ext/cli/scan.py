"""``bionemo-ext scan``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bionemo_ext.cli import options, query
from bionemo_ext.cli.drawing import Picture

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
    offset: Annotated[
        int, typer.Option(help="The first residue's position, less one: residue 1 is 1 + OFFSET.")
    ] = 0,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Write OUT.top.csv too: the N best substitutions of each."),
    ] = None,
) -> None:
    """Predict the effect of every substitution of each protein: log p(mutant) - log p(wild type).

    Above 0 the model prefers the mutant. Proteins beyond the model's limit are seen through
    windows.
    """
    from bionemo_ext.cli.variants import ScanQuestion, WholeProteins
    from bionemo_ext.client.files.mutations import SCAN_SUFFIXES, write_best, write_scans
    from bionemo_ext.contract import METHOD, SCAN
    from bionemo_ext.whole import check_out

    check_out(out, SCAN_SUFFIXES)
    with server.connect() as client:
        name = query.endpoint(client, f"{server.model}_mutation_effect")
        limit = client.limit(name)
        question = ScanQuestion(
            "scanning", name, (SCAN,), {"method": method}, {METHOD: method}, limit=limit
        )
        source = WholeProteins(fasta, job.policy("windows"), limit, job.skip_bad)
        passes = 2 if out.suffix.lower() == ".npz" else 1  # the names come first
        write = partial(write_scans, method=method, offset=offset)
        outputs = [query.Output(out, write, passes)]
        if top:
            best = partial(write_best, count=top, offset=offset)
            outputs.append(query.Output(out.with_suffix(".top.csv"), best))
        drawn = Picture(picture, partial(_draw, method, offset)) if picture else None
        query.run(client, question, source, out, outputs, job, drawn)


def _draw(method: str, offset: int, path: Path, result: "Result") -> None:
    from bionemo_ext.client.files.pictures import draw_scan
    from bionemo_ext.contract import SCAN

    draw_scan(path, result.name, result.sequence, result.values[SCAN], method, offset)
