"""A picture a split: every model's scores with their spread, the published figures as lines."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bionemo_ext.recipes.finetune.plots import (
    DASHED,
    GREY,
    METRIC_NAMES,
    ORANGE,
    TEAL,
    panels,
    save_figure,
)
from bionemo_ext.recipes.flip_benchmark.table import Row, by_split

_LOWER = ("mse", "mae")


def draw_tasks(out: Path, rows: Sequence[Row]) -> None:
    """Write ``<task>-<split>.png`` for every split of the table."""
    for title, of_split in by_split(rows):
        first = of_split[0]
        save_figure(split_figure(of_split, title), out / f"{first.task}-{first.split}.png")


def split_figure(rows: Sequence[Row], title: str) -> Figure:
    """Draw a split's rows: a panel for the leading score, and for one that was published.

    Parameters
    ----------
    rows : sequence of Row
        Of one split, with the published ones.
    title : str
        Above all.
    """
    ours = [row for row in rows if not row.is_published]
    theirs = [row for row in rows if row.is_published]
    metrics = list(dict.fromkeys([rows[0].metric, *(m for row in theirs for m in row.scores)]))
    height = 1.5 + 0.42 * len(ours) + (0.18 * len(theirs))
    with panels((1.6 + 4.6 * len(metrics), height), len(metrics)) as (figure, axes):
        for panel, metric in zip(axes, metrics, strict=True):
            _draw_panel(panel, ours, [r for r in theirs if metric in r.scores], metric)
        for panel in axes[1:]:
            panel.set_yticklabels([])
        figure.suptitle(title, fontsize=10.5)
    return figure


def _draw_panel(axes: Axes, ours: Sequence[Row], theirs: Sequence[Row], metric: str) -> None:
    for place, row in enumerate(ours):
        score = row.scores[metric]
        colour = GREY if row.model.endswith("predictor") else TEAL
        axes.barh(place, score.mean, color=colour, height=0.62, alpha=0.85)
        if score.interval:
            axes.plot(score.interval, [place, place], color="0.15", linewidth=1.2)
        axes.plot(score.each, [place] * len(score.each), "o", color="0.15", markersize=3)
        end = max(score.mean, *score.each, *(score.interval or ()))
        axes.annotate(
            f"{score.mean:.3f}",
            (end, place),
            (6, 0),
            textcoords="offset points",
            va="center",
            # Lines of published figures may run through it.
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )
    for row in theirs:
        axes.axvline(row.scores[metric].mean, color=ORANGE, linewidth=1, linestyle=DASHED)
    axes.set_yticks(range(len(ours)), [row.model for row in ours])
    axes.invert_yaxis()
    better = ", lower is better" if metric in _LOWER else ""
    axes.set_xlabel(f"{METRIC_NAMES[metric]}{better}")
    axes.margins(x=0.12)
    if theirs:
        _name_lines(axes, theirs, metric)


def _name_lines(axes: Axes, theirs: Sequence[Row], metric: str) -> None:
    """Names of the published models above the panel, one above the other so that none is hidden."""
    for place, row in enumerate(sorted(theirs, key=lambda row: -row.scores[metric].mean)):
        value = row.scores[metric].mean
        axes.annotate(
            f"{row.model}, published {value:.3g}",
            (value, 1),
            (-3, 4 + 10 * place),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color=ORANGE,
        )
