"""``bionemo-ext flip benchmark``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bionemo_ext.cli.extras import needs

if TYPE_CHECKING:
    from bionemo_ext.recipes.flip_benchmark import Report


def benchmark(
    out: Annotated[Path, typer.Option(help="Folder of results; what it has is not run again.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of finetune: training.epochs=8."),
    ] = None,
    models: Annotated[
        str,
        typer.Option(
            help="one-hot, composition, and encoders as DIR or NAME=DIR, with commas between; the "
            "constant predictor is always there."
        ),
    ] = "one-hot",
    tasks: Annotated[
        str, typer.Option(help="FLIP's or your own my.yaml, with commas; all: those in --data.")
    ] = "all",
    data: Annotated[Path, typer.Option(help="Where FLIP's data are.")] = Path("data/flip"),
    splits: Annotated[
        list[str] | None,
        typer.Option(help="TASK=SPLIT,SPLIT or TASK=all, where not the usual one; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each head.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Run FLIP's tasks with every model and write tables and plots, published figures beside them.

    A benchmark that was ended goes on when the same command is given again. One result that fails
    does not lose the others; the exit code is then 1.
    """
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("train"):
        from bionemo_ext.recipes.flip_benchmark import Benchmark, run_benchmark
    from bionemo_ext.cli.bars import bars
    from bionemo_ext.errors import RunError

    wanted = Benchmark(
        _words(models), _words(tasks), data, out, seeds, _by_task(splits or []), overrides or []
    )
    with bars() as bar:
        report = run_benchmark(wanted, bar, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo((out / "table.json").read_text(), nl=False)
    else:
        _show(report)
        typer.echo(f"tables and plots: {out}")
    for failure in report.failures:
        typer.echo(f"failed: {failure}", err=True)
    if report.failures:
        raise RunError(f"{len(report.failures)} of the benchmark's results could not be had")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _by_task(splits: list[str]) -> dict[str, list[str]]:
    from bionemo_ext.errors import ConfigError

    found: dict[str, list[str]] = {}
    for text in splits:
        task, is_pair, names = text.partition("=")
        if not is_pair or not _words(names):
            raise ConfigError(f"--splits {text} is not of the form TASK=SPLIT,SPLIT")
        found.setdefault(task, []).extend(_words(names))
    return found


def _show(report: "Report") -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from bionemo_ext.recipes.flip_benchmark.table import (
        NOTES,
        by_split,
        cells,
        columns,
        header,
        remarks,
    )

    console = Console()
    # Not to be folded where the output goes to a file.
    console = Console(width=console.width if console.is_terminal else 120, highlight=False)
    for title, rows in by_split(report.rows):
        metrics = columns(rows)
        table = Table(
            title=title,
            title_justify="left",
            caption=" ".join(remarks(rows)),
            caption_justify="left",
            box=SIMPLE,
        )
        for place, name in enumerate(header(metrics)):
            # On a narrow terminal names are folded, never figures.
            side = "right" if place else "left"
            table.add_column(name, justify=side, no_wrap=place > 0, overflow="fold")
        for row in rows:
            table.add_row(*cells(row, metrics), style="dim" if row.is_published else "")
        console.print(table)
    for note in NOTES:
        console.print(note, style="dim")
