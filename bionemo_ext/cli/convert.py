"""``bionemo-ext convert``."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from bionemo_ext.cli.extras import needs


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="facebook/esm2_..., a Hugging Face folder, a fair-esm .pt file, a NeMo "
            "checkpoint, or a run's folder (its newest checkpoint)."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="DEST", help="Folder (or .pt file) to write.")],
    to: Annotated[
        Literal["huggingface", "nemo", "fair-esm"], typer.Option(help="Form to write.")
    ] = "huggingface",
    adapter: Annotated[
        Path | None,
        typer.Option(help="Folder of a LoRA adapter, or of its task, to merge into the weights."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace DEST if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON summary.")] = False,
) -> None:
    """Bring a model from Hugging Face, fair-esm or NeMo into another of these forms, bit by bit."""
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("train"):
        from bionemo_ext.recipes.conversion import Form
        from bionemo_ext.recipes.conversion import convert as write

    done = write(source, out, Form(to), adapter=adapter, force=force)
    if as_json:
        typer.echo(json.dumps(done.as_json()))
        return
    typer.echo(
        f"wrote {done.out} ({done.form.value}) from {done.source.value}: {done.family}, "
        f"{done.parameters:,} parameters in {done.dtype}, up to {done.max_residues:,} residues"
    )
    for note in done.notes:
        typer.echo(f"note: {note}")
