"""``bionemo-ext score`` of deep mutational scans: a table of variants, and what was measured."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bionemo_ext.cli.extras import needs
from bionemo_ext.cli.progress import progress

if TYPE_CHECKING:
    from bionemo_ext.cli.options import JobOptions
    from bionemo_ext.client import Client
    from bionemo_ext.client.mutants import Mutants
    from bionemo_ext.study.scans import ScoredScan


def score_table(
    client: "Client",
    table: Path,
    out: Path,
    *,
    method: str,
    wildtype: Path | None,
    offset: int,
    compare: bool,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Score the variants of a CSV file, and compare with what was measured where that is asked.

    Parameters
    ----------
    client : Client
        Whom to ask.
    table, out : Path
        The scan, and the file to write.
    method : str
        Of :class:`bionemo_ext.tasks.variant_effects.Method`.
    wildtype : Path, optional
        FASTA of one protein, where the scan does not tell its wild type.
    offset : int
        What the scan's positions count too many.
    compare : bool
        Whether to compare.
    picture : Path, optional
        Where to draw scores over measurements.
    as_json : bool
        Print a JSON summary.
    """
    from bionemo_ext.client.files import check_out
    from bionemo_ext.client.masked_model import ServerLogits
    from bionemo_ext.errors import DataError

    with needs("study"):
        from bionemo_ext.study.scans import SUFFIXES, score_scan, write_scores
        from bionemo_ext.tasks.dms import read_scan
        from bionemo_ext.tasks.variant_effects import Method
    check_out(out, SUFFIXES)
    if picture:
        from bionemo_ext.client.pictures import check_picture

        check_picture(picture, 1)
    scan = read_scan(table, wildtype and _one_protein(wildtype), offset)
    if (compare or picture) and scan.measured is None:
        raise DataError(f"{table} has no measurements (column target or DMS_score) to compare with")
    for told in scan.left_out[:_TOLD]:
        print(f"left out: {told}", file=sys.stderr)
    began = time.monotonic()
    with progress(len(scan.variants), "scoring", "variants") as advance:
        scored = score_scan(scan, ServerLogits(client), Method(method), advance)
    write_scores(out, scored)
    summary: dict[str, Any] = {
        "out": str(out),
        "method": method,
        "variants": len(scan.variants),
        "left_out": len(scan.left_out),
        "seconds": round(time.monotonic() - began, 3),
    }
    if compare or picture:
        summary["metrics"] = scored.metrics()
        if picture:
            _draw(picture, scored, summary["metrics"])
            summary["picture"] = str(picture)
    typer.echo(json.dumps(summary) if as_json else _text(summary))


def score_records(
    client: "Client",
    fasta: str,
    listed: "Mutants",
    out: Path,
    method: str,
    job: "JobOptions",
) -> None:
    """Score variants of each protein by a method that the server has no endpoint for.

    Parameters
    ----------
    client : Client
        Whom to ask for logits.
    fasta : str
        Wild types.
    listed : Mutants
        What is to be scored.
    out : Path
        The file to write.
    method : str
        Of :class:`bionemo_ext.tasks.variant_effects.Method`.
    job : JobOptions
        Those of the command line.
    """
    from bionemo_ext.client import Result
    from bionemo_ext.client.files import check_out
    from bionemo_ext.client.masked_model import ServerLogits
    from bionemo_ext.client.mutation_files import SCORE_SUFFIXES, write_scores
    from bionemo_ext.contract import SCORE
    from bionemo_ext.contract.variants import parse_variants
    from bionemo_ext.errors import DataError
    from bionemo_ext.sequences import read_fasta
    from bionemo_ext.tasks.variant_effects import Method, score_variants

    check_out(out, SCORE_SUFFIXES)
    model = ServerLogits(client)
    records = list(read_fasta(fasta, job.policy("windows")))
    others = listed.others({record.name for record in records})
    if others:
        raise DataError(f"there are variants of {others[0]!r}, which {fasta} does not have")
    names = [listed.of(record.name) for record in records]
    variants = [
        [parse_variants(text, record.sequence, record.name)[0] for text in texts]
        for texts, record in zip(names, records, strict=True)
    ]
    began, results = time.monotonic(), []
    with progress(sum(map(len, variants)), "scoring", "variants") as advance:
        for record, wanted in zip(records, variants, strict=True):
            scores = score_variants(model, record.sequence, wanted, Method(method), advance)
            length = len(record.sequence)
            results.append(Result(record.name, record.sequence, length, 1, {SCORE: scores}))
    write_scores(out, results, names, method)
    summary = {
        "out": str(out),
        "method": method,
        "variants": sum(map(len, variants)),
        "left_out": 0,
        "seconds": round(time.monotonic() - began, 3),
    }
    typer.echo(json.dumps(summary) if job.as_json else _text(summary))


def _one_protein(fasta: Path) -> str:
    from bionemo_ext.errors import DataError
    from bionemo_ext.sequences import read_fasta

    records = list(read_fasta(str(fasta)))
    if len(records) != 1:
        raise DataError(f"{fasta} has {len(records):,} records; a scan has one wild type")
    return records[0].sequence


# Sentences about rows that are printed; the summary has their number.
_TOLD = 20


def _draw(path: Path, scored: "ScoredScan", metrics: dict[str, dict[str, float]]) -> None:
    from bionemo_ext.study.figures import draw_ranking

    assert scored.scan.measured is not None  # noqa: S101 (checked before)
    rho = metrics["spearman"]
    title = (
        f"{scored.scan.name}, {scored.method.value}: Spearman {rho['value']:.3f} "
        f"({rho['low']:.3f} to {rho['high']:.3f})"
    )
    draw_ranking(path, scored.scan.measured, scored.scores, title)


def _text(summary: dict[str, Any]) -> str:
    lines = [
        f"wrote {summary['out']}: {summary['variants']:,} variants by {summary['method']} in "
        f"{summary['seconds']:.1f} s, {summary['left_out']:,} left out"
    ]
    for name, found in summary.get("metrics", {}).items():
        lines.append(
            f"  {name:<11}{found['value']:7.3f}  (95%: {found['low']:.3f} to {found['high']:.3f})"
        )
    return "\n".join(lines)
