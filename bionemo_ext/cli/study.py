"""``bionemo-ext study``."""

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bionemo_ext.cli.extras import needs

if TYPE_CHECKING:
    import pandas as pd

    from bionemo_ext.study.cost import Cost
    from bionemo_ext.study.datasets import Dataset
    from bionemo_ext.study.sources import Source

# Five inner folds of two.
_MIN_SAMPLE = 10


def study(
    out: Annotated[Path, typer.Option(help="Folder of results; what it has is not run again.")],
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Labelled sets: CSV files or folders of them (columns sequence and target, or "
            "ProteinGym's). With --computed also FASTA."
        ),
    ] = None,
    models: Annotated[
        str,
        typer.Option(help="Encoders as DIR or NAME=DIR, and random or composition, with commas."),
    ] = "composition",
    methods: Annotated[
        str, typer.Option(help="Compressions, with commas; all: every one.")
    ] = "all",
    regressors: Annotated[str, typer.Option(help="lasso, ridge, knn, with commas.")] = "lasso",
    protocol: Annotated[
        Literal["inside", "published"],
        typer.Option(
            help="inside: a fold knows its training part alone. published: as the "
            "published scripts, which scale by all rows."
        ),
    ] = "inside",
    sample_sizes: Annotated[
        str, typer.Option(help="Learn from so many proteins too, with commas: 100,300,1000.")
    ] = "",
    layer: Annotated[
        int, typer.Option(help="0 is before the first, -1 the last, as transformers counts.")
    ] = -1,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Arithmetic of the encoders.")
    ] = "float32",
    device: Annotated[str, typer.Option(help="Where encoders run: cpu or cuda.")] = "cpu",
    computed: Annotated[
        bool,
        typer.Option("--computed", help="Predict what Biopython computes from each sequence."),
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Analyse results that are there: a study's Parquet or the published CSV."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Compression that the others are compared with.")
    ] = None,
    reference_model: Annotated[
        str | None, typer.Option(help="Model that the others are compared with.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that compress and regress.")
    ] = os.cpu_count() or 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Regress measured properties on compressed embeddings, and compare models and compressions.

    Embeddings, then compressions, then nested cross-validation, then a linear mixed-effects model.
    A study that was ended goes on when the same command is given again. A data set that cannot be
    used does not lose the others; the exit code is then 1.
    """
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("study"):
        from bionemo_ext.study import report
        from bionemo_ext.study.regression import Regressor
        from bionemo_ext.study.results import read_results
    from bionemo_ext.errors import RunError

    names = _chosen("--regressors", regressors, [one.value for one in Regressor])
    if results is not None:
        table, costs, data_sets, failures = read_results(results), {}, [], []
        names = [name for name in names if (table["regressor"] == name).any()]
    else:
        settings = {"regressors": names, "protocol": protocol, "workers": workers}
        sources = _sources(models, layer, dtype, device)
        table, costs, data_sets, failures = _run(
            out, data or [], computed, sources, _methods(methods), _sizes(sample_sizes), settings
        )
    references = {"method": reference, "model": reference_model}
    said = {}
    for name in names:
        chosen = {factor: level for factor, level in references.items() if level}
        found = report.find(table, costs, name, chosen)
        folder = out / name if len(names) > 1 else out
        report.write(folder, table, found, name)
        said[name] = report.as_dict(found)
        if not as_json:
            typer.echo((folder / "report.md").read_text())
    if as_json:
        about = {"datasets": {data.name: _counts(data) for data in data_sets}, "failures": failures}
        typer.echo(json.dumps(about | (said if len(said) > 1 else said[names[0]]), indent=2))
    else:
        typer.echo(f"tables and figures: {out}")
    for failure in failures:
        typer.echo(f"left out: {failure}", err=True)
    if failures:
        raise RunError(f"{len(failures)} of the data sets could not be used")


def _run(
    out: Path,
    places: list[Path],
    computed: bool,
    sources: "list[Source]",
    methods: list[str],
    sizes: list[int],
    settings: dict[str, Any],
) -> "tuple[pd.DataFrame, dict[str, Cost], list[Dataset], list[str]]":
    from bionemo_ext.cli.bars import bars
    from bionemo_ext.study.datasets import load
    from bionemo_ext.study.regression import Protocol, Regressor
    from bionemo_ext.study.run import Study, run_study

    limit = min(source.max_residues for source in sources)
    datasets, failures = load(places, limit, computed)
    for data in datasets:
        for told in _odd(data, settings["protocol"]):
            typer.echo(f"{data.name}: {told}", err=True)
    protocol = Protocol(settings["protocol"])
    inside = protocol is Protocol.INSIDE
    wanted = Study(
        sources,
        [data.one_row_a_protein() for data in datasets] if inside else datasets,
        methods,
        out,
        [Regressor(name) for name in settings["regressors"]],
        protocol,
        sizes,
        settings["workers"],
    )
    with bars() as bar:
        table, costs = run_study(wanted, bar)
    return table, costs, datasets, failures


def _counts(data: "Dataset") -> dict[str, Any]:
    """What a summary says of a data set."""
    from bionemo_ext.sequences.csv_table import count_reasons

    return {
        "rows": len(data.sequences),
        "left_out": len(data.left_out),
        "reasons": count_reasons(data.left_out),
        "repeated": data.repeated,
    }


def _odd(data: "Dataset", protocol: str) -> Iterator[str]:
    """Say what a user would not expect of a data set."""
    found = _counts(data)
    if found["left_out"]:
        reasons = "; ".join(f"{reason}: {count:,}" for reason, count in found["reasons"].items())
        yield (
            f"{found['rows']:,} rows, {found['left_out']:,} left out ({reasons}); the first: "
            f"{data.left_out[0].sentence}"
        )
    if data.repeated:
        done = {
            "inside": "each protein counts once, with the mean of its targets",
            "published": "a fold may learn from a protein and be tested on it",
        }
        yield f"{data.repeated:,} of {found['rows']:,} rows repeat a protein; {done[protocol]}"


def _sources(
    models: str, layer: int, dtype: Literal["float32", "bfloat16"], device: str
) -> "list[Source]":
    from bionemo_ext.errors import ConfigError
    from bionemo_ext.study.sources import choose

    if not _words(models):
        raise ConfigError("--models names no model")
    return choose(_words(models), layer, dtype, device)


def _methods(text: str) -> list[str]:
    from bionemo_ext.study.compression import METHODS

    return list(METHODS) if text == "all" else _chosen("--methods", text, METHODS)


def _sizes(text: str) -> list[int]:
    from bionemo_ext.errors import ConfigError

    for word in _words(text):
        if not word.isdigit() or int(word) < _MIN_SAMPLE:
            raise ConfigError(f"--sample-sizes {word} is not a whole number from {_MIN_SAMPLE}")
    return [int(word) for word in _words(text)]


def _chosen(option: str, text: str, known: Collection[str]) -> list[str]:
    from bionemo_ext.errors import ConfigError

    words = list(dict.fromkeys(_words(text)))
    for word in words or [""]:
        if word not in known:
            raise ConfigError(f"{option} {word or text!r} is none of {', '.join(known)}")
    return words


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
