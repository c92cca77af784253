"""``bionemo-ext card``."""

from pathlib import Path
from typing import Annotated

import typer

from bionemo_ext.cli.extras import needs


def card(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or an exported model.")],
) -> None:
    """Make MODEL_CARD.md of a model again, from its run or from the card.json beside it."""
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("train"):
        from bionemo_ext.recipes.card import card_folder, write_card

    typer.echo(f"wrote {write_card(card_folder(folder))}")
