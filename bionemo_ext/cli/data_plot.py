"""Figures of a data set as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

if TYPE_CHECKING:
    from bionemo_ext.data.statistics import Figures

matplotlib.use("Agg")


def draw(path: Path, sets: "dict[str, Figures]") -> None:
    """Draw lengths and residue frequencies of each set; the file appears when it is whole."""
    from matplotlib import pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7), layout="constrained")
    for i, (name, figures) in enumerate(sets.items()):
        edges, counts = figures.histogram["edges"], figures.histogram["counts"]
        share = [count / figures.sequences for count in counts]
        above.step(edges, share, where="post", label=f"{name} ({figures.sequences:,})")
        letters = sorted(figures.frequencies)
        places = [j + 0.8 * i / len(sets) for j in range(len(letters))]
        values = [figures.frequencies[letter] for letter in letters]
        below.bar(places, values, 0.8 / len(sets), label=name, tick_label=letters)
    above.set(xlabel="residues (the last bin has no end)", ylabel="share of sequences")
    below.set(xlabel="residue", ylabel="share of residues")
    above.legend()
    partial = path.with_name(f"{path.name}.partial")
    figure.savefig(partial, dpi=120, format="png")
    plt.close(figure)
    partial.rename(path)
