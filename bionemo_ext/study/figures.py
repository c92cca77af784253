"""Pictures of a study: R2 by compression, by model size, by sample size."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bionemo_ext.study.cost import Cost
from bionemo_ext.whole import whole

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

# Okabe and Ito's, which colour-blind readers tell apart.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_GREY = "#777777"


def draw(
    folder: Path, results: "pd.DataFrame", costs: Mapping[str, Cost], formats: tuple[str, ...]
) -> list[Path]:
    """Draw what the results have more than one value of.

    Parameters
    ----------
    folder : Path
        Where pictures go.
    results : DataFrame
        Of one regressor.
    costs : mapping of str to Cost
        Parameters of the models, by name; may be empty.
    formats : tuple of str
        Such as ``png`` and ``svg``.

    Returns
    -------
    list of Path
    """
    on_all = results[results["sample"] == 0]
    found = []
    if on_all["method"].nunique() > 1:
        found += _save(_by_compression(on_all), folder / "r2_by_compression", formats)
    if on_all["model"].nunique() > 1:
        found += _save(_by_model(on_all, costs), folder / "r2_by_model", formats)
    if results["sample"].nunique() > 1:
        found += _save(_by_sample(results), folder / "r2_by_sample_size", formats)
    return found


def draw_ranking(
    path: Path,
    measured: "NDArray[np.float64]",
    scores: "NDArray[np.float64]",
    name: str,
    about: str,
) -> None:
    """Draw scores over measurements, a dot a variant.

    Parameters
    ----------
    path : Path
        ``x.png`` or ``x.svg``; replaced when the new one is whole.
    measured, scores : NDArray
        FP64 [variants]; scores are differences of log-probabilities, in nats.
    name, about : str
        What the picture says above: the scan, and how well it is ranked.
    """
    figure, axes = _axes(5.2)
    axes.scatter(measured, scores, s=10, color=_COLOURS[0], alpha=0.35, linewidths=0)
    axes.set_xlabel("measured")
    axes.set_ylabel("score (variant - wild type), nats")
    axes.set_title(about, loc="left", fontsize=9, color=_GREY)
    figure.suptitle(name, x=0.02, ha="left", fontsize=11, fontweight="bold")
    with whole(path) as partial:
        figure.savefig(partial, dpi=150, format=path.suffix.lower()[1:])


def _by_compression(results: "pd.DataFrame") -> Any:
    """A box a compression over data sets, the best first, and a dot a data set."""
    import numpy as np

    by_set = results.groupby(["method", "dataset"])["r2_test"].mean().unstack(0)
    order = by_set.mean().sort_values(ascending=False).index
    figure, axes = _axes(max(5.0, 0.55 * len(order) + 1.5))
    values = [by_set[name].dropna().to_numpy() for name in order]
    _boxes(axes, values)
    shift = np.random.default_rng(0)
    for place, points in enumerate(values, start=1):
        x = place + shift.uniform(-0.15, 0.15, len(points))
        axes.scatter(x, points, s=9, color=_COLOURS[0], alpha=0.6, linewidths=0, zorder=3)
    axes.set_xticks(range(1, len(order) + 1), order, rotation=40, ha="right")
    axes.set_title(f"Compression ({by_set.shape[0]} data sets, mean of 5 folds)", loc="left")
    return figure


def _by_model(results: "pd.DataFrame", costs: Mapping[str, Cost]) -> Any:
    """R2 of the best compression of each model over its number of parameters."""
    best = results.groupby("method")["r2_test"].mean().idxmax()
    by_set = results[results["method"] == best].groupby(["model", "dataset"])["r2_test"].mean()
    table = by_set.unstack(0)
    sized = [name for name in table if name in costs and costs[name].parameters]
    order = sorted(sized, key=lambda name: costs[name].parameters)
    order += [name for name in table if name not in order]  # controls have no size
    figure, axes = _axes(max(5.0, 0.9 * len(order) + 2))
    _boxes(axes, [table[name].dropna().to_numpy() for name in order])
    for row in table[order].to_numpy():
        axes.plot(range(1, len(order) + 1), row, color=_GREY, alpha=0.5, linewidth=0.8)
    labels = [
        f"{name}\n{_size(costs[name].parameters)}" if name in sized else name for name in order
    ]
    axes.set_xticks(range(1, len(order) + 1), labels)
    axes.set_title(f"Model ({best}; a line a data set)", loc="left")
    return figure


def _by_sample(results: "pd.DataFrame") -> Any:
    """R2 over the number of proteins learned from, a line a model and its best compression."""
    best = results.groupby("method")["r2_test"].mean().idxmax()
    chosen = results[results["method"] == best]
    # All rows are another number for each data set: only what every data set has is comparable.
    sized = chosen[chosen["sample"] > 0]
    table = sized.groupby(["model", "sample"])["r2_test"].agg(["mean", "sem"]).reset_index()
    sets = sized.groupby("sample")["dataset"].nunique()
    figure, axes = _axes(5.5)
    for colour, (name, rows) in zip(_COLOURS, table.groupby("model"), strict=False):
        axes.errorbar(
            rows["sample"], rows["mean"], rows["sem"], label=name, color=colour, marker="o",
            markersize=4, capsize=2, linewidth=1.4,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(sets.index, [f"{size:,}\n{count} sets" for size, count in sets.items()])
    axes.minorticks_off()
    axes.set_xlabel("proteins in training, and data sets that have so many")
    axes.legend(frameon=False)
    axes.set_title(f"Sample size ({best}; standard error over folds)", loc="left")
    return figure


def _axes(width: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.set_ylabel("test R²")
    axes.axhline(0, color=_GREY, linewidth=0.8, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _boxes(axes: Any, values: list[Any]) -> None:
    line = {"color": _GREY, "linewidth": 1}
    axes.boxplot(
        values, showfliers=False, widths=0.55, boxprops=line, whiskerprops=line, capprops=line,
        medianprops={"color": _COLOURS[4], "linewidth": 1.6},
    )  # fmt: skip


def _size(parameters: int) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{name}"
    return str(parameters)


def _save(figure: Any, path: Path, formats: tuple[str, ...]) -> list[Path]:
    files = [path.with_suffix(f".{end}") for end in formats]
    for file in files:
        figure.savefig(file, dpi=150)
    return files
