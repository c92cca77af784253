"""The commands, each in a module of its own that imports what is heavy only when it runs."""

import typer

from bionemo_ext.cli.pretrain import pretrain


def register(app: typer.Typer) -> None:
    """Add every command to ``app``."""
    app.command()(pretrain)
