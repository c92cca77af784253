"""The figures as a table, as JSON and as a picture."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scaling.failover import Failover
from benchmarks.scaling.steps import Saturation, Step
from bionemo_ext.errors import InputError

_VALUES = Path(__file__).parents[2] / "k8s" / "chart" / "values.yaml"
# What a service is asked for, and how much of a replica is used for it.
PROTEINS_PER_HOUR = 1_000_000
USED = 0.7

# Markdown, so that docs/benchmarks.md has what was printed.
HEADER = (
    "| replicas | load | proteins/s | residues/s | p50, p99 ms | waited s | pending, most "
    "| cores: replicas, load |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Thresholds:
    """Beyond which the autoscaler adds replicas, as the chart's values have them.

    Parameters
    ----------
    queue_s : float
        Seconds that a request waits on average.
    pending : float
        Requests that wait at a replica.
    """

    queue_s: float
    pending: float

    @classmethod
    def of_the_chart(cls) -> "Thresholds":
        """Read them from ``k8s/chart/values.yaml``."""
        import yaml

        values = yaml.safe_load(_VALUES.read_text())["autoscaling"]
        return cls(values["queueMilliseconds"] / 1e3, float(values["pendingRequests"]))

    def crossed(self, step: Step) -> bool:
        """Whether one of both numbers asks for more replicas."""
        return step.queue_s > self.queue_s or step.pending > self.pending


@dataclass(frozen=True)
class Report:
    """All figures of a run.

    Parameters
    ----------
    model, dtype : str
        What was served.
    threads : int
        Of each replica.
    proteins : int
        How many different ones were asked for.
    mean_residues : float
        Of a protein.
    thresholds : Thresholds
        Of the autoscaler.
    one : list of Step
        One replica, under more and more requests at once.
    saturation : Saturation
        What follows from them.
    turns : list of (Step, Step)
        One replica and two, in turns.
    speed_ups : list of float
        Of each turn.
    shares : list of (float, Step)
        One replica under a share of its saturation rate, requests coming at random.
    failover : Failover
        One of two killed.
    replicas_for_a_million : int
        Replicas for a million such proteins an hour.
    """

    model: str
    dtype: str
    threads: int
    proteins: int
    mean_residues: float
    thresholds: Thresholds
    one: list[Step]
    saturation: Saturation
    turns: list[tuple[Step, Step]]
    speed_ups: list[float]
    shares: list[tuple[float, Step]]
    failover: Failover
    replicas_for_a_million: int


def replicas_needed(
    proteins_per_hour: float, mean_residues: float, residues_per_s: float, used: float = USED
) -> int:
    """How many replicas a stream of proteins needs.

    Parameters
    ----------
    proteins_per_hour : float
        The stream.
    mean_residues : float
        Of a protein.
    residues_per_s : float
        Of one replica at its saturation, with proteins of such lengths.
    used : float
        The share of its saturation that a replica is to be used at.

    Raises
    ------
    InputError
        If a rate is not above 0, or the share not within 0 and 1.
    """
    if min(proteins_per_hour, mean_residues, residues_per_s) <= 0 or not 0 < used <= 1:
        raise InputError("rates and lengths must be above 0, and the share used at most 1")
    return math.ceil(proteins_per_hour / 3600 * mean_residues / (residues_per_s * used))


def row(step: Step, load: str) -> str:
    """One line below ``HEADER``."""
    return (
        f"| {step.replicas} | {load} | {step.proteins_per_s:.2f} | {step.residues_per_s:,.0f} "
        f"| {step.p50_ms:,.0f}, {step.p99_ms:,.0f} | {step.queue_s:.2f} "
        f"| {step.pending:.1f}, {step.pending_most:.0f} "
        f"| {step.replica_cores:.2f}, {step.load_cores:.3f} |"
    )


def summary(report: Report) -> str:
    """What follows from the steps, a sentence a line."""
    most, limits, killed = report.saturation, report.thresholds, report.failover
    ratios = ", ".join(f"{ratio:.2f}" for ratio in report.speed_ups)
    lines = [
        f"saturated from {most.at_once} at once: {most.residues_per_s:,.0f} residues/s, "
        f"{most.proteins_per_s:.2f} proteins/s of {report.mean_residues:.0f} residues",
        f"two replicas to one: {ratios}; median {statistics.median(report.speed_ups):.2f}",
    ]
    for share, step in report.shares:
        word = "more replicas" if limits.crossed(step) else "calm"
        lines.append(
            f"load {share:4.0%}: waited {step.queue_s:.3f} s of {limits.queue_s:g}, pending "
            f"{step.pending:.1f} of {limits.pending:g} (most {step.pending_most:.0f}): {word}"
        )
    lines += [
        f"one of two killed: {killed.asked} requests, {killed.answered} answered, "
        f"{killed.lost} lost, {killed.wrong} wrong; largest error {killed.largest_error:.2g}, "
        f"slowest {killed.slowest_s:.1f} s; {killed.away_s:.1f} s after the kill it answered "
        f"again, {killed.answered_after} requests in all",
        f"{PROTEINS_PER_HOUR:,} proteins an hour at {USED:.0%} of saturation: "
        f"{report.replicas_for_a_million} replicas",
    ]
    return "\n".join(lines)


def draw(report: Report, path: Path) -> None:
    """Draw latency, and what the autoscaler reads, against the load."""
    from matplotlib.figure import Figure

    loads = [100 * share for share, _ in report.shares]
    steps = [step for _, step in report.shares]
    figure = Figure(figsize=(10, 4), layout="constrained")
    latency, queue = figure.subplots(1, 2)
    for label, values in (
        ("median", [step.p50_ms / 1e3 for step in steps]),
        ("99th percentile", [step.p99_ms / 1e3 for step in steps]),
    ):
        latency.plot(loads, values, marker="o", label=label)
    latency.set(yscale="log", ylabel="latency (s)")
    for label, values in _autoscaled(report.thresholds, steps):
        queue.plot(loads, values, marker="o", label=label)
    queue.axhline(100, color="gray", linestyle="--", label="threshold")
    queue.set_yscale("symlog", linthresh=1)  # linear below, where nothing waits
    queue.set(ylim=(0, None), ylabel="% of the autoscaler's threshold")
    for axes in (latency, queue):
        axes.set(xlabel="load (% of saturation)", title=f"{report.model}, one replica")
        axes.axvline(100, color="gray", linewidth=0.5)
        axes.legend()
    figure.savefig(path)


def _autoscaled(thresholds: Thresholds, steps: Sequence[Step]) -> list[tuple[str, list[float]]]:
    return [
        ("seconds waited", [100 * step.queue_s / thresholds.queue_s for step in steps]),
        ("requests pending", [100 * step.pending / thresholds.pending for step in steps]),
    ]
