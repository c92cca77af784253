"""``bionemo-ext flip``: the FLIP benchmark's data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bionemo_ext.cli.bars import bar
from bionemo_ext.cli.extras import needs

if TYPE_CHECKING:
    from bionemo_ext.tasks.catalogue import FlipTask

app = typer.Typer(help="FLIP: see its tasks, get its data.", no_args_is_help=True)

_ROOT = Path("data/flip")
DataOption = Annotated[
    Path, typer.Option("--data", help="Where FLIP's data are: <task>/splits.zip.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_tasks(data: DataOption = _ROOT, as_json: JsonOption = False) -> None:
    """Show FLIP's tasks: what is predicted, the splits, how many proteins, and what is here."""
    from bionemo_ext.tasks.catalogue import TASKS

    described = [_describe(task, data) for task in TASKS.values()]
    if as_json:
        typer.echo(json.dumps(described))
        return
    _show(described)


@app.command()
def download(
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]...", help="Which; all when none is named.")
    ] = None,
    data: DataOption = _ROOT,
    base_url: Annotated[
        str | None, typer.Option(help="Another server with <task>/splits.zip.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download FLIP's archives (Academic Free License 3.0) from its public repository.

    The SHA-256 of secondary_structure, conservation, bind and gb1 is known; of the others the
    first download writes it to checksums.json in --data, and later ones are held to it. A download
    that broke off goes on when the same command is given again.
    """
    with needs("train"):
        from bionemo_ext.tasks.catalogue import TASKS, flip_task
        from bionemo_ext.tasks.download import BASE_URL
        from bionemo_ext.tasks.download import download as get

    archives = []
    for task in [flip_task(name) for name in tasks or TASKS]:
        archive = get(task, data, base_url=base_url or BASE_URL, bar=bar)
        archives.append(
            {
                "task": archive.task,
                "path": str(archive.path),
                "sha256": archive.sha256,
                "new": archive.new,
            }
        )
        if not as_json:
            told = "downloaded" if archive.new else "there already"
            typer.echo(f"{archive.task}: {archive.path} {told}, SHA-256 {archive.sha256}")
    if as_json:
        typer.echo(json.dumps(archives))


def _describe(task: "FlipTask", root: Path) -> dict[str, Any]:
    from bionemo_ext.errors import DataError
    from bionemo_ext.tasks.loading import locate
    from bionemo_ext.tasks.reading import split_names

    try:
        there = split_names(locate(f"flip:{task.name}", root))
    except DataError:
        there = []
    splits = {
        name: {
            "counts": {
                release: {
                    "training": counts.training,
                    "validation": counts.validation,
                    "test": counts.test,
                }
                for release, counts in split.counts.items()
            },
            "kind": (split.kind or task.kind).value,
            "present": name in there,
        }
        for name, split in task.splits.items()
    }
    return {
        "task": task.name,
        "level": task.level.value,
        "kind": task.kind.value,
        "target": task.target,
        "default_split": task.default,
        "expected_release": task.release,
        "splits": splits,
    }


def _show(described: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for column in ("task", "level", "kind", "split"):
        table.add_column(column, no_wrap=True)
    for column in ("train", "validation", "test"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("here")
    for task in described:
        for name, split in task["splits"].items():
            default = f"{name} *" if name == task["default_split"] else name
            shown = [task["task"], task["level"], split["kind"], default]
            here = "yes" if split["present"] else "no"
            table.add_row(*shown, *_cells(split["counts"]), here)
    # Not to be folded where the output goes to a file.
    console = Console()
    Console(width=console.width if console.is_terminal else 120).print(table)
    typer.echo("* the usual split; validation -: no source gives it, and train includes it")


def _cells(counts: dict[str, dict[str, int | None]]) -> tuple[str, str, str]:
    """Train, validation and test; releases that differ stand side by side."""
    if not counts:
        return ("?", "?", "?")
    validation = {c["validation"] for c in counts.values()}
    train = {c["training"] - (c["validation"] or 0) for c in counts.values()}
    told = " / ".join("-" if v is None else f"{v:,}" for v in validation)
    tests = " / ".join(f"{c['test']:,}" for c in counts.values())
    return (" / ".join(f"{t:,}" for t in train), told, tests)
