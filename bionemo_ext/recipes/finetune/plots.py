"""Pictures of a fine-tuned task: what is taken for what, truth beside prediction, the training.

Letters: M labels that count, C classes or labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.tasks.metrics import Scores, counted_labels, main_metric
from bionemo_ext.whole import whole

TEAL, ORANGE, GREY = "#159d95", "#e07b39", "#8a94a0"
DASHED = (0, (4, 3))
METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mcc": "MCC",
    "mse": "MSE",
    "mae": "MAE",
    "spearman": "Spearman",
}
# Classes up to which the cells of a confusion matrix carry their numbers.
_WRITTEN_CLASSES = 12


def result_figure(
    task: TaskInfo,
    truth: Sequence[NDArray[np.generic]],
    predicted: Sequence[NDArray[np.floating]],
    scores: Scores,
    *,
    mean: float = 0.0,
) -> Figure:
    """Draw a test part: confusion matrix, F1 of each label, or truth beside prediction.

    Parameters
    ----------
    task : TaskInfo
        What was predicted.
    truth, predicted : sequence of array
        As :func:`bionemo_ext.tasks.metrics.score` takes them.
    scores : Scores
        Theirs; the main one goes into the title.
    mean : float
        What the mean predictor says of every protein, in the target's unit.
    """
    _, true, raw = counted_labels(task.level, task.kind, truth, predicted)
    title = f"{task.name}: {score_text(scores, main_metric(task.kind))}"
    if task.kind is Kind.CLASSIFICATION:
        what = "residues" if task.level is Level.RESIDUE else "proteins"
        return confusion_figure(true, raw.argmax(1), task.classes, title, what)
    if task.kind is Kind.MULTILABEL:
        return label_figure(scores.class_f1, (true > 0).sum(0), task.classes, title)
    return scatter_figure(true, raw[:, 0], mean, title)


def score_text(scores: Scores, metric: str) -> str:
    """Tell a score and any interval, as ``MCC 0.482 (95%: 0.470 to 0.495)``."""
    text = f"{METRIC_NAMES[metric]} {scores.values[metric]:.3f}"
    if metric in scores.intervals:
        low, high = scores.intervals[metric]
        text += f" (95%: {low:.3f} to {high:.3f})"
    return text


def confusion_figure(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: Sequence[str],
    title: str,
    what: str = "labels",
) -> Figure:
    """Draw how often the labels of a class [M] are given each class.

    Parameters
    ----------
    truth, predicted : array
        Class numbers, [M].
    classes : sequence of str
        Their names.
    title : str
        Above the matrix.
    what : str
        What is counted.
    """
    counts = confusion_matrix(truth, predicted, labels=range(len(classes)))
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    side = min(3.2 + 0.62 * len(classes), 14)
    with panels((side + 1.0, side)) as (figure, (axes,)):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(classes) <= _WRITTEN_CLASSES:
            _write_cells(axes, counts, shares)
        places = range(len(classes))
        turned = max(map(len, classes)) > 4
        axes.set_xticks(
            places, classes, rotation=40 if turned else 0, ha="right" if turned else "center"
        )
        axes.set_yticks(
            places, [f"{c}  ({n:,})" for c, n in zip(classes, totals[:, 0], strict=True)]
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel=f"true ({what})")
        axes.set_title(title)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30, format="{x:.0%}")
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
    return figure


def _write_cells(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{share:.0%}\n{count:,}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if share > 0.55 else "0.15",
        )


def label_figure(
    f1: Sequence[float | None], counts: NDArray[np.int64], labels: Sequence[str], title: str
) -> Figure:
    """Draw the F1 of each label, with how often the label is there."""
    with panels((6.4, 1.6 + 0.36 * len(labels))) as (figure, (axes,)):
        values = [value or 0.0 for value in f1]
        axes.barh(range(len(labels)), values, color=TEAL, height=0.7)
        for place, value in enumerate(f1):
            text = "neither there nor predicted" if value is None else f"{value:.3f}"
            axes.annotate(
                text, (value or 0, place), (4, 0), textcoords="offset points", va="center"
            )
        named = [f"{name}  ({count:,})" for name, count in zip(labels, counts, strict=True)]
        axes.set_yticks(range(len(labels)), named)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6), xlabel="F1")
        axes.set_title(title)
    return figure


def scatter_figure(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], mean: float, title: str
) -> Figure:
    """Draw prediction over truth [M], with the diagonal and the line of the mean predictor."""
    with panels((5.6, 5.2)) as (figure, (axes,)):
        # Where points lie on each other, their density shows.
        alpha = float(np.clip(700 / len(truth), 0.1, 0.7))
        axes.scatter(truth, predicted, s=12, color=TEAL, alpha=alpha, linewidths=0, rasterized=True)
        ends = [min(truth.min(), predicted.min(), mean), max(truth.max(), predicted.max(), mean)]
        margin = 0.04 * (ends[1] - ends[0] or 1)
        limits = (ends[0] - margin, ends[1] + margin)
        axes.plot(limits, limits, color=GREY, linewidth=1, label="prediction = truth")
        axes.axhline(
            mean, color=ORANGE, linewidth=1.4, linestyle=DASHED, label=f"mean predictor, {mean:.3g}"
        )
        axes.set(xlim=limits, ylim=limits, xlabel="measured", ylabel="predicted", aspect="equal")
        axes.set_title(title)
        axes.legend(loc="upper left", frameon=False)
    return figure


def training_figure(rows: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draw training and validation loss, and which epoch was kept.

    Parameters
    ----------
    rows : sequence of mapping
        Those of ``metrics.jsonl``: ``epoch``, ``loss`` and ``val_loss``.
    title : str
        Above the curve.
    """
    epochs, losses, validation = (
        [row[key] for row in rows] for key in ("epoch", "loss", "val_loss")
    )
    best = int(np.argmin(validation))
    with panels((6.4, 4.0)) as (figure, (axes,)):
        marker = "o" if len(rows) == 1 else None
        axes.plot(epochs, losses, color=GREY, linewidth=1.6, marker=marker, label="training")
        axes.plot(epochs, validation, color=TEAL, linewidth=1.8, marker=marker, label="validation")
        axes.plot(
            epochs[best],
            validation[best],
            "o",
            color=ORANGE,
            markersize=7,
            label=f"kept: epoch {epochs[best]:.0f}, {validation[best]:.4g}",
        )
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="mean loss")
        axes.set_title(title)
        axes.legend(frameon=False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as its suffix says, ``.png`` or ``.svg``; the file appears when it is whole.

    Raises
    ------
    InputError, RunError
        If the file cannot be written.
    """
    # Without a date: the same figures give the same file.
    with whole(path) as new, mpl.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(
            new,
            dpi=150,
            bbox_inches="tight",
            format=path.suffix[1:].lower(),
            metadata={"Date": None} if path.suffix.lower() == ".svg" else None,
        )


@contextmanager
def panels(size: tuple[float, float], count: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Begin a figure with panels side by side in this package's style; it is drawn in the block.

    Without pyplot, whose figures would be kept by the process.
    """
    with mpl.rc_context(
        {
            "font.size": 9.5,
            "axes.titlesize": 10.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.8,
        }
    ):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, [figure.add_subplot(1, count, place + 1) for place in range(count)]
