"""``bionemo-ext export``."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from bionemo_ext.cli.extras import needs


def export(
    source: Annotated[
        Path, typer.Argument(help="Hugging Face folder, or a pretraining run or checkpoint.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    task: Annotated[
        list[Path] | None, typer.Option(help="Task folder to serve too; may be given often.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What the endpoints' names begin with; default: esm2 or esm1nv."),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Precision that the server computes in.")
    ] = "float32",
    instances: Annotated[
        int,
        typer.Option(min=1, help="Processes that hold the encoder, a copy each."),
    ] = 1,
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge a task's adapter into weights of its own.")
    ] = False,
    add: Annotated[bool, typer.Option("--add", help="Add the model to the export at OUT.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON summary.")] = False,
) -> None:
    """Write OUT/huggingface and OUT/triton, a model repository that `serve` starts."""
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("serve"):
        from bionemo_ext.export import export as write

    endpoints = write(
        source,
        out,
        task or [],
        name=name,
        dtype=dtype,
        instances=instances,
        merge=merge,
        add=add,
        force=force,
    )
    names = [endpoint.name for endpoint in endpoints]
    if as_json:
        typer.echo(json.dumps({"out": str(out), "endpoints": names}))
    else:
        typer.echo(f"wrote {out / 'huggingface'} and {out / 'triton'} ({', '.join(names)})")
