"""``bionemo-ext score`` of deep mutational scans: a table of variants, and what was measured."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bionemo_ext.cli import query
from bionemo_ext.cli.extras import needs

if TYPE_CHECKING:
    from bionemo_ext.cli.options import JobOptions
    from bionemo_ext.client import Client, Result
    from bionemo_ext.contract.effects import Method
    from bionemo_ext.sequences.csv_table import LeftOut
    from bionemo_ext.study.scans import ScoredScan
    from bionemo_ext.tasks.dms import Check, Scan

# Sentences about rows that are printed; the summary has their number.
_TOLD = 20
# Letters of a variant's name that are printed; an insertion may be called by its whole sequence.
_NAME = 30


def score_table(
    client: "Client",
    read: "Callable[[Check], Scan]",
    table: Path,
    out: Path,
    *,
    method: "Method",
    compare: bool,
    picture: Path | None,
    top: int | None,
    job: "JobOptions",
) -> None:
    """Score the variants of a file, and compare with what was measured where that is asked.

    Parameters
    ----------
    client : Client
        Whom to ask.
    read : callable
        Reads the scan, leaving out what a check refuses.
    table, out : Path
        What is read, and the file to write.
    method : Method
        How variants are scored.
    compare : bool
        Whether to compare.
    picture : Path, optional
        Where to draw scores over measurements.
    top : int, optional
        How many of the best variants to print.
    job : JobOptions
        Those of the command line; rows that cannot be used are left out anyway.
    """
    from bionemo_ext.errors import DataError
    from bionemo_ext.whole import check_out

    with needs("study"):
        from bionemo_ext.study.scans import SUFFIXES, records
        from bionemo_ext.tasks.variant_effects import check_variant
    check_out(out, SUFFIXES)
    if picture:
        from bionemo_ext.client.files.pictures import check_picture

        check_picture(picture, 1)
    limit = client.limit(client.host)
    scan = read(partial(check_variant, method=method, limit=limit))
    if (compare or picture) and scan.measured is None:
        raise DataError(f"{table} has no measurements (column target or DMS_score) to compare with")
    _tell("left out", scan.left_out)
    if compare or picture:
        _tell("not compared", scan.unmeasured)
    began = time.monotonic()
    scored = _score(client, scan, table, out, method, limit, job)
    summary = {"out": str(out), "method": method.value} | _counts(scored)
    summary["seconds"] = round(time.monotonic() - began, 3)
    if compare or picture:
        summary["metrics"] = scored.metrics()
    if picture:
        _draw(picture, scored, summary["metrics"])
        summary["picture"] = str(picture)
    if top:
        summary["top"] = records(scored.table().nlargest(top, "score"))
    typer.echo(json.dumps(summary) if job.as_json else _text(summary))


def _score(
    client: "Client",
    scan: "Scan",
    table: Path,
    out: Path,
    method: "Method",
    limit: int,
    job: "JobOptions",
) -> "ScoredScan":
    """Score every variant, and write the table; a job that goes on where it stopped."""
    import numpy as np

    from bionemo_ext.cli.variants import ByLogits, ScanVariants
    from bionemo_ext.contract import SCORE
    from bionemo_ext.study.scans import ScoredScan, write_scores

    scored: list[ScoredScan] = []

    def write(path: Path, results: "Collection[Result]") -> None:
        scores = np.concatenate([result.values[SCORE] for result in results])
        scored.append(ScoredScan(scan, method, scores))
        write_scores(path, scored[0])

    digest = hashlib.sha256(repr((scan.wild, scan.variants)).encode()).hexdigest()
    about = {"method": method.value, "variants": digest}
    question = ByLogits(
        "scoring", client.host, (SCORE,), about, unit="variants",
        method=method, variant=scan.variants.__getitem__,
    )  # fmt: skip
    source = ScanVariants(str(table), job.policy("windows"), limit, scan=scan)
    query.answer(client, question, source, out, [query.Output(out, write)], job)
    return scored[0]


def one_protein(fasta: str) -> str:
    """Read the wild type of a scan.

    Raises
    ------
    DataError
        If the FASTA has several records; else errors are those of reading it.
    """
    from bionemo_ext.errors import DataError
    from bionemo_ext.sequences import read_fasta

    records = list(read_fasta(fasta))
    if len(records) != 1:
        raise DataError(f"{fasta} has {len(records):,} records; a scan has one wild type")
    return records[0].sequence


def _tell(what: str, rows: "Sequence[LeftOut]") -> None:
    for row in rows[:_TOLD]:
        print(f"{what}: {row.sentence}", file=sys.stderr)
    if len(rows) > _TOLD:
        print(f"{what}: {len(rows) - _TOLD:,} more rows", file=sys.stderr)


def _counts(scored: "ScoredScan") -> dict[str, Any]:
    from bionemo_ext.sequences.csv_table import count_reasons

    scan = scored.scan
    return {
        "variants": len(scan.variants),
        "left_out": len(scan.left_out),
        "reasons": count_reasons(scan.left_out),
        "unmeasured": len(scan.unmeasured),
        "residues": len(scan.wild),
        "first_position": 1 + scan.offset,
    }


def _with_interval(found: dict[str, float]) -> str:
    return f"{found['value']:6.3f} (95%: {found['low']:.3f} to {found['high']:.3f})"


def _draw(path: Path, scored: "ScoredScan", metrics: dict[str, dict[str, Any]]) -> None:
    from bionemo_ext.study.figures import draw_ranking

    rho = metrics["spearman"]
    told = "undefined" if rho["value"] is None else _with_interval(rho).strip()
    measured, scores, _ = scored.compared()
    about = f"{len(measured):,} variants by {scored.method.value}, Spearman {told}"
    draw_ranking(path, measured, scores, scored.scan.name, about)


def _text(summary: dict[str, Any]) -> str:
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in summary["reasons"].items())
    first = summary["first_position"]
    last = first + summary["residues"] - 1
    lines = [
        f"wrote {summary['out']}: {summary['variants']:,} variants by {summary['method']} in "
        f"{summary['seconds']:.1f} s, {summary['left_out']:,} left out"
        + (f" ({reasons})" if reasons else "")
        + f"; positions {first:,} to {last:,}"
    ]
    for name, found in summary.get("metrics", {}).items():
        value = "undefined" if found["value"] is None else _with_interval(found)
        lines.append(f"  {name:<11}{value}")
    lines += [f"best {len(summary['top']):,} by score:"] if "top" in summary else []
    for row in summary.get("top", []):
        measured = row.get("measured")
        beside = "" if measured is None else f"  measured {measured:.4g}"
        name = row["mutant"] if len(row["mutant"]) <= _NAME else row["mutant"][:_NAME] + "..."
        lines.append(f"  {name:<11}{row['score']:7.3f}{beside}")
    return "\n".join(lines)
