"""``bionemo-ext finetune``."""

import json

import typer


def finetune(
    overrides: list[str] = typer.Argument(  # noqa: B008
        None, metavar="[KEY=VALUE]...", help="encoder=DIR task=NAME out=DIR, and any other key."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result for machines."),
) -> None:
    """Train a task on a frozen encoder, with adapters (mode=lora) or with all weights (mode=full).

    encoder= is a Hugging Face folder or a pretraining run, task= a file of conf/task or your own
    my.yaml, and out= gets the task's weights, result.json, predictions.parquet and pictures.
    """
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    from bionemo_ext.cli.bars import bar
    from bionemo_ext.recipes.finetune.run import run

    result = run(overrides or [], bar)
    if not result:  # a rank, of which the launcher tells, or stopped
        return
    if as_json:
        typer.echo(json.dumps(result))
        return
    counts = result["counts"]
    typer.echo(
        f"{result['task']}: {counts['train']} train, {counts['validation']} validation, "
        f"{counts['test']} test, {result['seconds']} s"
    )
    if result["drawn"]:
        typer.echo(f"  the data mark no {' and no '.join(result['drawn'])} set: drawn by the seed")
    if result["unlabelled"]:
        typer.echo(f"  {result['unlabelled']} sequences have no label and were left out")
    for name, label in (
        ("test", "encoder"), ("one_hot", "one-hot"), ("majority", "majority"), ("mean", "mean")
    ):  # fmt: skip
        if name in result:
            intervals = result["intervals"] if name == "test" else {}
            scores = "  ".join(
                _score(metric, value, intervals.get(metric))
                for metric, value in result[name].items()
            )
            typer.echo(f"  {label:<9} {scores}")


def _score(metric: str, value: float, interval: tuple[float, float] | None) -> str:
    spread = f" (95%: {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return f"{metric} {value:.3f}{spread}"
