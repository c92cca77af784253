"""The commands, each in a module of its own that imports what is heavy only when it runs."""

import typer


def register(app: typer.Typer) -> None:
    """Add every command to ``app``."""
