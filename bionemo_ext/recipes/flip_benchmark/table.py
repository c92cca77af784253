"""Results of all seeds in one table, beside the mean predictor and what was published."""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bionemo_ext.recipes.finetune.plots import METRIC_NAMES
from bionemo_ext.tasks.published import SOURCE, published
from bionemo_ext.whole import whole

NOTES = (
    "Scores on the test part. ± is the standard deviation over seeds, spread the largest less the "
    "smallest of them; a model without either has one solution, whatever the seed. table.csv has "
    "these for all scores.",
    "95% is the percentile bootstrap over test proteins, its ends averaged over the seeds.",
    "The mean (majority) predictor gives every protein the mean (most frequent class) of the "
    "training targets.",
    f"Published rows: {SOURCE}; their training set, head and stopping may differ from ours.",
)


@dataclass(frozen=True)
class Summary:
    """A score over seeds.

    Parameters
    ----------
    mean : float
        Over seeds.
    deviation, spread : float or None
        Standard deviation (n - 1), and the largest less the smallest; None of a single figure.
    interval : (float, float) or None
        95% of the bootstrap over proteins, averaged over seeds.
    each : tuple of float
        By seed.
    """

    mean: float
    deviation: float | None
    spread: float | None
    interval: tuple[float, float] | None
    each: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """A model on a split of a task.

    Parameters
    ----------
    task, split, model : str
        Names.
    metric : str
        The score that leads.
    scores : dict of str to Summary
        All of them.
    is_published : bool
        Whether somebody else measured it.
    counts : dict of str to int
        Proteins in each part; empty of a published row.
    seconds : float or None
        Mean time of a training with its test, the time to embed included where it was due.
    """

    task: str
    split: str
    model: str
    metric: str
    scores: dict[str, Summary]
    is_published: bool = False
    counts: dict[str, int] | None = None
    seconds: float | None = None


def summarise(results: Iterable[dict[str, Any]]) -> list[Row]:
    """Join seeds, and add the published rows of the same split below.

    Parameters
    ----------
    results : iterable of dict
        As :func:`bionemo_ext.recipes.flip_benchmark.cells.compute` gives them, in order.
    """
    rows: list[Row] = []
    for (task, split), of_split in groupby(results, lambda r: (r["task"], r["split"])):
        ours = [
            _row(task, split, model, list(seeds))
            for model, seeds in groupby(of_split, lambda r: r["model"])
        ]
        rows += ours
        rows += [
            Row(task, split, p.model, ours[0].metric, {p.metric: _single(p.value)}, True)
            for p in published(task)
            if p.split == split
        ]
    return rows


def _row(task: str, split: str, model: str, seeds: Sequence[dict[str, Any]]) -> Row:
    first = seeds[0]
    scores = {
        metric: _summary(
            [r["values"][metric] for r in seeds],
            [r["intervals"][metric] for r in seeds if metric in r["intervals"]],
        )
        for metric in first["values"]
    }
    seconds = statistics.fmean(r["seconds"] for r in seeds)
    return Row(task, split, model, first["metric"], scores, False, first["counts"], seconds)


def _summary(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> Summary:
    several = len(values) > 1
    return Summary(
        statistics.fmean(values),
        statistics.stdev(values) if several else None,
        max(values) - min(values) if several else None,
        tuple(map(statistics.fmean, zip(*intervals, strict=True))) if intervals else None,
        tuple(values),
    )


def _single(value: float) -> Summary:
    return Summary(value, None, None, None, (value,))


def write_tables(out: Path, rows: Sequence[Row], failures: Sequence[str]) -> None:
    """Write ``table.md`` for people, ``table.csv`` and ``table.json`` for programs."""
    plain = {
        "notes": list(NOTES),
        "rows": [asdict(row) for row in rows],
        "failures": list(failures),
    }
    _write(out / "table.json", json.dumps(plain, indent=2) + "\n")
    _write(out / "table.csv", _csv(rows))
    _write(out / "table.md", markdown(rows, failures))


def by_split(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Give the rows of each split with its title."""
    for (task, split), of_split in groupby(rows, lambda row: (row.task, row.split)):
        found = list(of_split)
        yield f"{task}, split {split}", found


def columns(rows: Sequence[Row]) -> list[str]:
    """Name the scores of a split's rows, the one that leads first."""
    return sorted(rows[0].scores, key=lambda metric: metric != rows[0].metric)


def cells(row: Row, metrics: Sequence[str]) -> list[str]:
    """Tell a row: model, the leading score with spread and interval, other means, seconds."""
    lead, *others = (row.scores.get(metric) for metric in metrics)
    model = f"{row.model} (published)" if row.is_published else row.model
    means = ["" if score is None else f"{score.mean:.3f}" for score in others]
    return [model, *_in_full(lead), *means, "" if row.seconds is None else f"{row.seconds:.1f}"]


def _in_full(score: Summary | None) -> list[str]:
    """Mean with deviation, spread, interval."""
    if score is None:
        return ["", "", ""]
    interval = "" if score.interval is None else "{:.3f} to {:.3f}".format(*score.interval)
    if score.spread is None:
        return [f"{score.mean:.3f}", "", interval]
    return [f"{score.mean:.3f} ± {score.deviation:.3f}", f"{score.spread:.3f}", interval]


def header(metrics: Sequence[str]) -> list[str]:
    """Name the columns of :func:`cells`."""
    lead, *others = [METRIC_NAMES[metric] for metric in metrics]
    return ["model", lead, "spread", "95%", *others, "seconds"]


def remarks(rows: Sequence[Row]) -> list[str]:
    """Tell what one must know of a split to read its rows."""
    found = []
    if counts := rows[0].counts:
        parts = ", ".join(f"{count:,} {part}" for part, count in counts.items())
        found.append(f"Proteins: {parts}.")
    elsewhere = {p.split for p in published(rows[0].task)} - {rows[0].split}
    if elsewhere:
        found.append(
            f"Published figures of this task are of the split {', '.join(sorted(elsewhere))} and "
            "cannot be compared."
        )
    return found


def markdown(rows: Sequence[Row], failures: Sequence[str]) -> str:
    """Write the tables of all splits as Markdown."""
    lines = ["# FLIP benchmark", ""]
    for title, of_split in by_split(rows):
        metrics = columns(of_split)
        names = header(metrics)
        lines += [f"## {title}", "", *(f"{line}\n" for line in remarks(of_split))]
        lines += [_line(names), _line(["---", *["---:"] * (len(names) - 1)])]
        lines += [_line(cells(row, metrics)) for row in of_split] + [""]
    if failures:
        lines += ["## Failed", "", *(f"- {failure}" for failure in failures), ""]
    lines += ["## Notes", "", *(f"- {note}" for note in NOTES), ""]
    return "\n".join(lines)


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _csv(rows: Sequence[Row]) -> str:
    """A line a score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["task", "split", "model", "published", "metric", "leads", "mean", "deviation", "spread",
         "low", "high", "seeds", "seconds"]
    )  # fmt: skip
    for row in rows:
        for metric, s in row.scores.items():
            low, high = s.interval or (None, None)
            writer.writerow(
                [row.task, row.split, row.model, row.is_published, metric, metric == row.metric,
                 s.mean, s.deviation, s.spread, low, high, len(s.each), row.seconds]
            )  # fmt: skip
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with whole(path) as new:
        new.write_text(text)
