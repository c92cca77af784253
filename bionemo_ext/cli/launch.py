"""``bionemo-ext launch``."""

from typing import Annotated

import typer

from bionemo_ext.cli.extras import needs


def launch(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="As of pretrain, and cluster=slurm, kubeflow or local with cluster.KEY=VALUE.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be submitted, and do nothing.")
    ] = False,
) -> None:
    """Run `pretrain` on a cluster through NeMo-Run, or here under torchrun.

    Nodes and GPUs are parallel.nodes and parallel.devices. A job that its cluster ends saves first,
    and the same command goes on from there.
    """
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("train"):
        from bionemo_ext.recipes import launching, submit

        checked = launching.read(overrides or [])
        typer.echo(submit.dry_run(checked) if dry_run else submit.submit(checked), nl=not dry_run)
