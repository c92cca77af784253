"""Pictures of results: mutation heat map, contact map, residue track (extra ``plot``).

Colours are told apart by everybody: a diverging map from red to blue, one hue that darkens, and
the palette of Okabe and Ito (jfly.uni-koeln.de/color) for classes.

Letters: L residues, C classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bionemo_ext.client.results import Prediction
from bionemo_ext.contract import AMINO_ACIDS, Kind
from bionemo_ext.errors import InputError
from bionemo_ext.whole import whole

PICTURE_SUFFIXES = (".png", ".svg")
# By character: positive, negative, polar, special, aliphatic, aromatic.
_GROUPS = ("HKR", "DE", "NQST", "CGP", "AVILM", "FYW")
_ROWS = "".join(_GROUPS)
_INK, _GREY, _FAINT = "#222222", "#8a8a8a", "#d9d9d9"
_OKABE_ITO = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#999999",
)  # fmt: skip
# As structure is drawn everywhere: helix, strand, and the rest in grey.
_STRUCTURE = {"H": "#0072B2", "E": "#E69F00", "C": "#d0d0d0"}
_DPI = 150
# Residues of one row, and inches of each.
_WRAP = 100
_RESIDUE_IN = 0.145
# Side of the largest contact map.
_MOST_IN = 14.0
_LEFT_IN = 0.75
# Right of the rows: that of a colour bar, or none.
_BAR_IN, _RIGHT_IN = 1.35, 0.3

Array = NDArray[np.float32]


def check_picture(path: Path, records: int | None) -> None:
    """Refuse early what cannot be drawn.

    Parameters
    ----------
    path : Path
        ``x.png`` or ``x.svg`` of one protein, a folder of several.
    records : int, optional
        How many there are; None where it is not known.

    Raises
    ------
    InputError
        If one picture is to show several proteins, or the place is missing.
    """
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to draw {path.name} in")
    one = path.suffix.lower() in PICTURE_SUFFIXES
    if one and records != 1:
        count = f"there are {records:,}" if records else "standard input may have several"
        raise InputError(f"{path} shows one protein and {count}: name a folder for the pictures")
    if not one and path.suffix:
        raise InputError(f"{path} ends in neither .png nor .svg, and a folder's name has no suffix")


def draw_scan(
    path: Path, name: str, sequence: str, scan: Array, method: str = "", offset: int = 0
) -> None:
    """Draw the effect of every substitution.

    Parameters
    ----------
    path : Path
        ``.png`` or ``.svg``; replaced when the new one is whole.
    name, sequence : str
        The protein.
    scan : NDArray
        log p(mutant) - log p(wild type), [L, 20], its columns ``AMINO_ACIDS``.
    method : str
        How it was computed.
    offset : int
        Position of the first residue, less one.
    """
    order = [AMINO_ACIDS.index(letter) for letter in _ROWS]
    most = max(float(np.percentile(np.abs(scan), 99.5)), 1e-6)
    figure, rows = _wrapped(len(sequence), row_in=20 * _RESIDUE_IN, right=_BAR_IN)
    by = f" by {method} marginals" if method else ""
    span = f"{1 + offset:,} to {len(sequence) + offset:,}"
    _title(figure, name, f"effect of every substitution{by}, residues {span}")
    image = None
    for axes, start, end in rows:
        image = axes.imshow(
            scan[start:end, order].T, cmap="RdBu", vmin=-most, vmax=most, aspect="auto",
            extent=(start + 0.5, end + 0.5, len(_ROWS) - 0.5, -0.5), interpolation="nearest",
        )  # fmt: skip
        own = [_ROWS.find(letter) for letter in sequence[start:end]]
        dots = [(start + 1 + i, row) for i, row in enumerate(own) if row >= 0]
        if dots:
            axes.plot(*zip(*dots, strict=True), "o", color=_INK, markersize=2.2, linestyle="none")
        axes.set_yticks(range(len(_ROWS)), list(_ROWS), family="monospace", fontsize=7)
        for edge in np.cumsum([len(group) for group in _GROUPS])[:-1]:
            axes.axhline(edge - 0.5, color="white", linewidth=1.2)
        _letters(axes, sequence, start, end, offset)
    axes = rows[0][0]
    axes.set_ylabel("mutant")
    axes.legend(
        handles=[Patch(facecolor="none", edgecolor="none", label="dots: wild type")],
        loc="lower right", bbox_to_anchor=(1, 1.02), frameon=False, fontsize=8, handlelength=0,
    )  # fmt: skip
    _colour_bar(figure, image, "log p(mutant) - log p(wild type), nats", extend="both")
    _save(figure, path)


def draw_contacts(path: Path, name: str, contacts: Array) -> None:
    """Draw a contact map.

    Parameters
    ----------
    path : Path
        ``.png`` or ``.svg``; replaced when the new one is whole.
    name : str
        The protein.
    contacts : NDArray
        Probabilities, [L, L].
    """
    residues = len(contacts)
    # Two points of the picture for a residue, or more: contacts of a long chain stay visible.
    side = min(max(5.4, 2 * residues / _DPI), _MOST_IN)
    width, height = side + 1.9, side + 1.5
    figure = _figure(width, height)
    axes = figure.add_axes((0.75 / width, 0.6 / height, side / width, side / height))
    extent = (0.5, residues + 0.5, residues + 0.5, 0.5)
    # One hue from white: a printed page shows the same.
    image = axes.imshow(
        contacts, cmap="Blues", vmin=0, vmax=1, extent=extent, interpolation="nearest"
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=2))
    axes.set(xlabel="residue", ylabel="residue")
    axes.grid(color=_FAINT, linewidth=0.4)
    axes.set_axisbelow(False)
    _title(figure, name, f"predicted contacts, {residues:,} residues")
    _colour_bar(figure, image, "probability of a contact (C\N{GREEK SMALL LETTER BETA} < 8 \u00c5)")
    _save(figure, path)


def draw_track(path: Path, prediction: Prediction) -> None:
    """Draw what is predicted along the chain.

    Classes are stacked probabilities with the likeliest one's bar below; labels and values are
    lines.

    Parameters
    ----------
    path : Path
        ``.png`` or ``.svg``; replaced when the new one is whole.
    prediction : Prediction
        Of a task about residues, [L, C].
    """
    task, values = prediction.task, prediction.values
    residues = len(prediction.sequence)
    figure, rows = _wrapped(residues, row_in=1.25, right=_RIGHT_IN)
    _title(figure, prediction.name, f"{task.name}, {residues:,} residues")
    colours = _colours(task.classes)
    draw = {
        Kind.CLASSIFICATION: _stacked,
        Kind.MULTILABEL: _lines,
        Kind.REGRESSION: _curve,
    }[task.kind]
    for axes, start, end in rows:
        draw(axes, np.arange(start, end + 1) + 0.5, values[start:end], colours)
        if task.kind is Kind.REGRESSION:
            low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
            axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low) or 1)
        else:
            axes.set_ylim(0 if task.kind is Kind.MULTILABEL else -0.14, 1)
            axes.set_yticks([0, 0.5, 1])
        _letters(axes, prediction.sequence, start, end)
        axes.set_xlim(start + 0.5, end + 0.5)
    axes = rows[0][0]
    axes.set_ylabel("value" if task.kind is Kind.REGRESSION else "probability")
    if task.classes:
        handles = [
            Patch(color=c, label=name) for c, name in zip(colours, task.classes, strict=True)
        ]
        axes.legend(
            handles=handles, loc="lower right", bbox_to_anchor=(1, 1.04), frameon=False,
            fontsize=8, ncols=min(10, len(handles)), handlelength=1, columnspacing=1,
        )  # fmt: skip
    _save(figure, path)


def _stacked(axes: Axes, edges: Array, values: Array, colours: Sequence[str]) -> None:
    below = np.zeros(len(values))
    best = values.argmax(axis=1)
    for index, colour in enumerate(colours):
        above = below + values[:, index]
        axes.stairs(above, edges, baseline=below, fill=True, color=colour, linewidth=0)
        below = above
        here = np.where(best == index, -0.03, -0.13)
        axes.stairs(here, edges, baseline=-0.13, fill=True, color=colour, linewidth=0)


def _lines(axes: Axes, edges: Array, values: Array, colours: Sequence[str]) -> None:
    for index, colour in enumerate(colours):
        axes.stairs(values[:, index], edges, color=colour, linewidth=1.4, baseline=None)
    axes.axhline(0.5, color=_FAINT, linewidth=0.8, zorder=0)


def _curve(axes: Axes, edges: Array, values: Array, colours: Sequence[str]) -> None:
    axes.stairs(values[:, 0], edges, fill=True, color="#9ecae1", linewidth=0)
    axes.stairs(values[:, 0], edges, color="#0072B2", linewidth=1, baseline=None)
    axes.axhline(0, color=_GREY, linewidth=0.6)


def _colours(classes: Sequence[str]) -> list[str]:
    """Give a colour a class; classes that are numbers are steps of one scale."""
    if set(classes) <= set(_STRUCTURE):
        return [_STRUCTURE[name] for name in classes]
    if len(classes) > len(_OKABE_ITO) or all(name.isdigit() for name in classes):
        return [to_hex(colour) for colour in colormaps["cividis"](np.linspace(0, 1, len(classes)))]
    return list(_OKABE_ITO[: len(classes)])


def _wrapped(
    residues: int, *, row_in: float, right: float
) -> tuple[Figure, list[tuple[Axes, int, int]]]:
    """Make rows of at most 100 residues, each with the residues [start, end) it has."""
    left = _LEFT_IN
    per_row = min(residues, _WRAP)
    width = left + max(per_row * _RESIDUE_IN, 3.2) + right
    starts = range(0, residues, per_row)
    pitch = row_in + 0.55
    height = 0.75 + pitch * len(starts)
    figure = _figure(width, height)
    rows = []
    for index, start in enumerate(starts):
        end = min(start + per_row, residues)
        share = (width - left - right) / width * (end - start) / per_row
        bottom = height - 0.7 - pitch * index - row_in
        box = (left / width, bottom / height, share, row_in / height)
        rows.append((figure.add_axes(box), start, end))
    return figure, rows


def _figure(width: float, height: float) -> Figure:
    """Without pyplot, which would keep every figure."""
    figure = Figure((width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, name: str, what: str) -> None:
    """Write the name in bold and what is shown, at the top left, in inches from the edge."""
    width, height = figure.get_size_inches()
    shown = name if len(name) <= 40 else f"{name[:39]}\N{HORIZONTAL ELLIPSIS}"
    figure.text(
        0.2 / width, 1 - 0.12 / height, shown, weight="bold", fontsize=11, va="top", color=_INK,
        parse_math=False,
    )  # fmt: skip
    figure.text(0.2 / width, 1 - 0.34 / height, what, fontsize=9, va="top", color=_INK)


def _letters(axes: Axes, sequence: str, start: int, end: int, offset: int = 0) -> None:
    """Write the wild type below a row, and every tenth position."""
    places = range(start + 1, end + 1)
    tens = [i for i in places if (i + offset) % 10 == 0 or i in (1, len(sequence))]
    if len(tens) > 1 and tens[1] - tens[0] < 4 and tens[0] == 1:
        tens.pop(1)
    if len(tens) > 1 and tens[-1] - tens[-2] < 4:  # the last residue's number needs its room
        tens.pop(-2)
    axes.xaxis.remove_overlapping_locs = False
    axes.set_xticks(tens, [str(i + offset) for i in tens], fontsize=8)
    axes.set_xticks(range(start + 1, end + 1), list(sequence[start:end]), minor=True)
    axes.tick_params(axis="x", which="minor", length=0, pad=1, labelsize=6.5)
    axes.tick_params(axis="x", which="major", length=2.5, pad=10, color=_GREY)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)


def _colour_bar(figure: Figure, image: object, label: str, extend: str = "neither") -> None:
    width, height = figure.get_size_inches()
    long = min(height - 1.2, 2.6)
    place = figure.add_axes(((width - 0.95) / width, 1 - (0.75 + long) / height, 0.13 / width,
                             long / height))  # fmt: skip
    bar = figure.colorbar(image, cax=place, extend=extend)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    kind = path.suffix.lower()[1:]
    # Text that stays text; no time of day and no random names: the same numbers, the same file.
    with whole(path) as partial, rc_context({"svg.fonttype": "none", "svg.hashsalt": "bionemo"}):
        figure.savefig(partial, format=kind, metadata={"Date": None} if kind == "svg" else None)
