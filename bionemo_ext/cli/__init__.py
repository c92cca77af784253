"""The one command, ``bionemo-ext``."""

import os
import sys

import typer

from bionemo_ext import __version__
from bionemo_ext.errors import BionemoExtError

app = typer.Typer(
    name="bionemo-ext",
    help="Pretrain, fine-tune, serve and query protein language models of the ESM family.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"bionemo-ext {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Pretrain, fine-tune, serve and query protein language models of the ESM family."""


def main() -> None:
    """Run the command line; an error of our own family is one sentence and its exit code."""
    from bionemo_ext.cli import commands

    commands.register(app)
    try:
        app()
    except BionemoExtError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # the ranks of a run tell it once
            print(f"bionemo-ext: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
