"""``bionemo-ext finetune``."""

import json

import typer


def finetune(
    overrides: list[str] = typer.Argument(  # noqa: B008
        None, metavar="[KEY=VALUE]...", help="encoder=DIR task=NAME out=DIR, and any other key."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result for machines."),
) -> None:
    """Train a task on a frozen encoder, and the same head on one-hot residues beside it.

    encoder= is a Hugging Face folder or a pretraining run, task= a file of conf/task, and out=
    gets task.json, head.safetensors and result.json.
    """
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    from bionemo_ext.recipes.finetune import run

    result = run(overrides or [])
    if as_json:
        typer.echo(json.dumps(result))
        return
    counts = result["counts"]
    typer.echo(
        f"{result['task']}: {counts['train']} train, {counts['validation']} validation, "
        f"{counts['test']} test, {result['seconds']} s"
    )
    for name, label in (
        ("test", "encoder"), ("one_hot", "one-hot"), ("majority", "majority"), ("mean", "mean")
    ):  # fmt: skip
        if name in result:
            scores = "  ".join(f"{metric} {value:.3f}" for metric, value in result[name].items())
            typer.echo(f"  {label:<9} {scores}")
