"""``bionemo-ext export``."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from bionemo_ext.cli.extras import needs
from bionemo_ext.contract import FOLD_CHUNK_SIZE, MAX_FOLD_RESIDUES
from bionemo_ext.errors import InputError


def export(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Hugging Face folder, or a pretraining run or checkpoint; none to fold alone."
        ),
    ] = None,
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
    fold: Annotated[
        Path | None, typer.Option(help="Hugging Face folder of an ESMFold model to serve too.")
    ] = None,
    fold_dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        typer.Option(help="Precision of ESMFold's language model; its authors take float16."),
    ] = "float32",
    fold_residues: Annotated[
        int, typer.Option(min=1, help="Residues a protein to fold may have.")
    ] = MAX_FOLD_RESIDUES,
    fold_chunk: Annotated[
        int,
        typer.Option(min=0, help="Rows that ESMFold's attention takes at once; 0: all of them."),
    ] = FOLD_CHUNK_SIZE,
    add: Annotated[bool, typer.Option("--add", help="Add the model to the export at OUT.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON summary.")] = False,
) -> None:
    """Write OUT/huggingface and OUT/triton, a model repository that `serve` starts."""
    if source is None and fold is None:
        raise InputError("give a model to export, or --fold with an ESMFold model")
    if source is None and (task or name):
        raise InputError("--task and --name belong to a model, and none is given")

    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("serve"):
        from bionemo_ext.export import FoldSource, export_fold
        from bionemo_ext.export import export as write

        folding = fold and FoldSource(fold, fold_dtype, fold_residues, fold_chunk)
        if source is None:
            endpoints = export_fold(folding, out, add=add, force=force)
        else:
            endpoints = write(
                source,
                out,
                task or [],
                name=name,
                dtype=dtype,
                instances=instances,
                merge=merge,
                fold=folding,
                add=add,
                force=force,
            )
    names = [endpoint.name for endpoint in endpoints]
    if as_json:
        typer.echo(json.dumps({"out": str(out), "endpoints": names}))
    else:
        written = [out / "triton"]
        if source is not None:
            model = endpoints[0].parameters["model"]
            written.insert(0, out / (f"huggingface-{model}" if add else "huggingface"))
        typer.echo(f"wrote {' and '.join(map(str, written))} ({', '.join(names)})")
