"""Figures as inline SVG that takes the page's text colour, so that it reads by day and by night."""

import re
from collections.abc import Sequence
from io import StringIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bionemo_ext.demo.checks import Training

TEAL, ORANGE, GREY = "#159d95", "#e07b39", "#8a94a0"
# Whatever has this colour becomes the page's text colour.
_INK = "#010203"
# Neighbours along the chain are close in space anyway; contact maps leave them out.
_NEIGHBOURS = 6


def training_figure(training: Training) -> str:
    """Loss by step, and below it the validation perplexity between unigram and uniform guesses."""
    figure, (above, below) = _panels(2, (4.6, 4.6))
    above.plot(training.steps, training.losses, color=TEAL, linewidth=1.6)
    above.set_ylabel("training loss, nats")
    for perplexity, name in ((20.0, "uniform guess"), (training.unigram, "residue frequencies")):
        below.axhline(perplexity, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        below.annotate(
            f"{name}, {perplexity:.1f}",
            (1, perplexity),
            xycoords=below.get_yaxis_transform(),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=_INK,
        )
    steps, perplexities = training.validation_steps, training.perplexities
    below.plot(steps, perplexities, "o-", color=ORANGE, linewidth=1.6, markersize=5)
    for step, perplexity in zip(steps, perplexities, strict=True):
        below.annotate(
            f"{perplexity:.2f}",
            (step, perplexity),
            xytext=(0, -14),
            textcoords="offset points",
            ha="center",
            color=_INK,
        )
    below.set_ylim(min([*perplexities, 15]) - 1.4, 21.2)
    below.set_xlabel("step")
    below.set_ylabel("validation perplexity")
    above.sharex(below)
    return _svg(figure, "Training loss and validation perplexity by step")


def contact_figure(contacts: NDArray[np.floating], title: str) -> str:
    """A map [L, L]; the band of chain neighbours is left empty."""
    figure, (axes,) = _panels(1, (4.2, 4.0))
    length = len(contacts)
    apart = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    shown = np.where(apart < _NEIGHBOURS, np.nan, contacts)
    low, high = np.nanpercentile(shown, [5, 99.7]) if length > 2 * _NEIGHBOURS else (0.0, 1.0)
    axes.imshow(
        shown, vmin=low, vmax=high, cmap="viridis", extent=(0.5, length + 0.5, length + 0.5, 0.5)
    )
    axes.set_xlabel("residue")
    axes.set_ylabel("residue")
    return _svg(figure, title)


def track_figure(probabilities: NDArray[np.floating], exposed: Sequence[bool], title: str) -> str:
    """Predicted probability of each residue [L], above the true label as a band."""
    figure, (axes,) = _panels(1, (4.6, 2.5))
    positions = np.arange(1, len(probabilities) + 1)
    axes.axhline(0.5, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.plot(positions, probabilities, color=TEAL, linewidth=1.2)
    truth = np.asarray(exposed)
    axes.fill_between(positions, -0.16, -0.06, where=truth, step="mid", color=ORANGE, linewidth=0)
    axes.fill_between(
        positions, -0.16, -0.06, where=~truth, step="mid", color=GREY, alpha=0.35, linewidth=0
    )
    axes.set_ylim(-0.2, 1.02)
    axes.set_yticks([-0.11, 0, 0.5, 1], ["label", "0", "0.5", "1"])
    axes.set_xlim(1, len(probabilities))
    axes.set_xlabel("residue")
    axes.set_ylabel("P(exposed)")
    return _svg(figure, title)


def _panels(rows: int, size: tuple[float, float]) -> tuple[Figure, list[mpl.axes.Axes]]:
    style = {"axes.edgecolor": _INK, "axes.labelcolor": _INK, "text.color": _INK, "font.size": 10}
    style |= {"xtick.color": _INK, "ytick.color": _INK, "axes.spines.top": False}
    style |= {"axes.spines.right": False, "axes.linewidth": 0.7}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def _svg(figure: Figure, title: str) -> str:
    """The bare ``<svg>`` element, without what would name another host or a fixed size."""
    text = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(text, format="svg", transparent=True)
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return svg.replace(_INK, "currentColor")
