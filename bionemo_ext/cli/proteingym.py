"""``bionemo-ext proteingym``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bionemo_ext.cli import options
from bionemo_ext.cli.extras import needs
from bionemo_ext.cli.progress import progress
from bionemo_ext.errors import RunError

if TYPE_CHECKING:
    from bionemo_ext.study.benchmark import BenchmarkReport


@options.spread
def proteingym(
    folder: Annotated[Path, typer.Argument(help="Folder of the benchmark's scans, CSV.")],
    reference: Annotated[Path, typer.Option(help="Its reference file, DMS_substitutions.csv.")],
    out: Annotated[Path, typer.Option(help="Folder of results; what it has is not scored again.")],
    server: options.ServerOptions,
    method: Annotated[
        Literal["masked", "wildtype", "mutant", "pll"],
        typer.Option(help="How variants are scored; see score."),
    ] = "masked",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Score ProteinGym's substitution benchmark, and average as the benchmark does.

    Scans of one protein and one selection are averaged first, then the proteins of a selection,
    then the selections; ± is the bootstrap's standard error over proteins. A scan that cannot be
    scored does not lose the others; the exit code is then 1.
    """
    with needs("study"):
        from bionemo_ext.study.benchmark import count_rows, run_benchmark
        from bionemo_ext.tasks.proteingym import read_reference
    from bionemo_ext.client.masked_model import ServerLogits
    from bionemo_ext.contract.effects import Method

    assays, missing = read_reference(reference, folder)
    if missing:
        typer.echo(f"not in {folder}: {len(missing):,} scans, the first {missing[0]}", err=True)
    rows = sum(map(count_rows, assays))
    with server.connect() as client, progress(rows, "scoring", "variants") as advance:
        about = client.models()[client.host].parameters
        identity = f"{about['digest']} {about['dtype']}"
        model = ServerLogits(client)
        report = run_benchmark(assays, model, identity, Method(method), out, advance)
    typer.echo(json.dumps(asdict(report)) if as_json else _text(report))
    for failure in report.failures:
        typer.echo(f"left out: {failure}", err=True)
    if report.failures:
        raise RunError(f"{len(report.failures)} of {len(assays)} scans could not be scored")


def _text(report: "BenchmarkReport") -> str:
    selections = list(next(iter(report.averages.values())))
    width = max(len("0.000 ±0.000"), *map(len, selections)) + 2
    lines = [" " * 11 + "".join(f"{name:>{width}}" for name in selections)]
    for metric, found in report.averages.items():
        cells = (_cell(found[name], report.standard_errors[metric][name]) for name in selections)
        lines.append(f"{metric:<11}" + "".join(f"{cell:>{width}}" for cell in cells))
    variants, left_out = (
        sum(one[name] for one in report.scans.values()) for name in ("variants", "left_out")
    )
    lines.append(f"{len(report.scans):,} scans, {variants:,} variants, {left_out:,} left out")
    return "\n".join(lines)


def _cell(value: float | None, error: float | None) -> str:
    """A value with its standard error; a selection of one protein has none."""
    if value is None:
        return "-"
    return f"{value:.3f}" if error is None else f"{value:.3f} ±{error:.3f}"
