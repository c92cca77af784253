"""``bionemo-ext demo``."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for models, answers and the report.")] = Path(
        "runs/demo"
    ),
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the pretraining of an earlier demo in OUT.")
    ] = False,
) -> None:
    """Pretrain, fine-tune, export, serve and query on small real data, and write a report.

    Takes some minutes on two cores. An earlier demo's folder is emptied first.
    """
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    from bionemo_ext.demo.runner import run

    report = run(out, keep=keep)
    typer.echo(f"report: {report.resolve()}")
