"""The validation curve as a picture, or as a line of text where matplotlib is not installed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bionemo_ext.whole import whole

CURVE_FILE = "validation.png"
_BARS = "▁▂▃▄▅▆▇█"


def draw(curve: Sequence[Mapping[str, float]], path: Path) -> bool:
    """Draw perplexity over steps; say whether that was possible."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    steps = [point["step"] for point in curve]
    axes.plot(steps, [point["val_perplexity"] for point in curve], marker="o", markersize=3)
    axes.set_xlabel("step")
    axes.set_ylabel("validation perplexity")
    axes.grid(alpha=0.3)
    # Without a date in it the same curve is the same file.
    with whole(path) as new:
        figure.savefig(new, format="png", dpi=120, metadata={"Software": None})
    return True


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Values as bars of text, at most ``width`` of them, from lowest to highest."""
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    low, high = min(values), max(values)
    if high == low:
        return _BARS[0] * len(values)
    return "".join(_BARS[round((v - low) / (high - low) * (len(_BARS) - 1))] for v in values)
