"""Figures of a data set as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from bionemo_ext.whole import whole

if TYPE_CHECKING:
    from bionemo_ext.data.statistics import Figures

matplotlib.use("Agg")


def draw(path: Path, sets: "dict[str, Figures]") -> None:
    """Draw lengths and residue frequencies of each set; the file appears when it is whole."""
    from matplotlib import pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7), layout="constrained")
    letters = sorted(set().union(*(figures.frequencies for figures in sets.values())))
    width = 0.8 / len(sets)
    for i, (name, figures) in enumerate(sets.items()):
        edges, counts = figures.histogram["edges"], figures.histogram["counts"]
        share = [count / figures.sequences for count in counts]
        above.stairs(share, [*edges, 2 * edges[-1] - edges[-2]], label=name)
        values = [figures.frequencies.get(letter, 0) for letter in letters]
        below.bar([place + i * width for place in range(len(letters))], values, width, label=name)
    below.set_xticks([place + 0.4 - width / 2 for place in range(len(letters))], letters)
    above.set(xlabel="residues (the last bin has no end)", ylabel="share of sequences")
    below.set(xlabel="residue", ylabel="share of residues")
    above.legend()
    with whole(path) as new:
        figure.savefig(new, dpi=120, format="png")
    plt.close(figure)
