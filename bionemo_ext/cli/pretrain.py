"""``bionemo-ext pretrain``."""

import typer


def pretrain(
    overrides: list[str] = typer.Argument(  # noqa: B008
        None, metavar="[KEY=VALUE]...", help="For example: recipe=demo model=esm2_8m steps=1000."
    ),
) -> None:
    """Pretrain ESM-2 or ESM-1nv, or go on where a run in the same folder was ended.

    The run is composed from conf/: recipe=, model=, data=, parallel= and precision= choose a file
    each, key=value changes one value, and out= says where everything is written.
    """
    from bionemo_ext.recipes import pretrain as recipe

    recipe.run(overrides or [])
