"""``bionemo-ext demo``."""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bionemo_ext.cli.extras import needs


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
    with needs("dev"):
        from bionemo_ext.demo.runner import run

        # Used minutes later by the commands it runs, and slow to import.
        for name in ("nemo", "megatron", "pytriton"):
            if find_spec(name) is None:
                raise ModuleNotFoundError(name=name)

    # Ordered to end, it ends what it started on its way out, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    report = run(out, keep=keep)
    typer.echo(f"report: {report.resolve()}")
