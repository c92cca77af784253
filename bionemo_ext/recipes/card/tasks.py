"""Measured results of tasks that were fine-tuned on a model and lie beside it."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bionemo_ext.huggingface import weights_digest

_Z = 1.959964  # of a 95% interval


def task_facts(folder: Path, run: Path | None = None) -> list[dict[str, Any]]:
    """Results of the task folders beside a model, of those that were trained on its weights.

    Parameters
    ----------
    folder : Path
        The model's Hugging Face folder.
    run : Path, optional
        The run's folder: tasks may lie in it or beside it.

    Returns
    -------
    list of dict
        ``task``, ``level``, ``metric``, ``value``, ``interval`` (low, high and how, or nothing),
        ``baselines``, ``counts``; in the order of the names.
    """
    found = {}
    digest = None
    for place in _places(folder, run):
        spec, result = _read(place / "task.json"), _read(place / "result.json")
        if not spec.get("encoder_digest") or not isinstance(result.get("test"), dict):
            continue
        digest = digest or weights_digest(folder)
        if spec["encoder_digest"] == digest:
            found[place.name] = _facts(result)
    return [found[name] for name in sorted(found)]


def _places(folder: Path, run: Path | None) -> Iterator[Path]:
    folder = folder.resolve()
    parents = {folder.parent, folder / "tasks"}
    if run:
        parents |= {run.resolve(), run.resolve().parent, run.resolve() / "tasks"}
    for parent in sorted(parents):
        if parent.is_dir():
            yield from sorted(p.parent for p in parent.glob("*/task.json"))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _facts(result: dict[str, Any]) -> dict[str, Any]:
    metric = result.get("metric") or next(iter(result["test"]), "")
    value = result["test"].get(metric)
    baselines = {
        name: scores[metric]
        for name, scores in result.items()
        if name in ("one_hot", "majority", "mean") and isinstance(scores, dict) and metric in scores
    }
    return {
        "task": result.get("task"),
        "level": result.get("level"),
        "metric": metric,
        "value": value,
        "interval": _interval(result, metric, value),
        "baselines": baselines,
        "counts": result.get("counts") or {},
    }


def _interval(result: dict[str, Any], metric: str, value: float | None) -> dict[str, Any] | None:
    """95% interval: the one that was measured, else one that the number of examples gives.

    Residues of one protein are not independent, so of a residue task only a measured one counts.
    """
    measured = (result.get("intervals") or {}).get(metric)
    if isinstance(measured, list) and len(measured) == 2:
        return {"low": measured[0], "high": measured[1], "how": "as the task's result states it"}
    count = (result.get("counts") or {}).get("test")
    if value is None or not count or result.get("level") != "sequence":
        return None
    if metric == "accuracy":
        low, high = wilson(value, count)
        return {"low": low, "high": high, "how": f"Wilson, {count:,} test sequences"}
    if metric == "spearman" and count > 3:
        low, high = bonett_wright(value, count)
        return {"low": low, "high": high, "how": f"Bonett and Wright, {count:,} test sequences"}
    return None


def wilson(share: float, count: int) -> tuple[float, float]:
    """95% interval of a share of ``count`` independent examples (Wilson, 1927)."""
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    half /= 1 + _Z**2 / count
    return max(0.0, middle - half), min(1.0, middle + half)


def bonett_wright(rho: float, count: int) -> tuple[float, float]:
    """95% interval of Spearman's correlation of ``count`` pairs (Bonett and Wright, 2000)."""
    rho = max(-1 + 1e-12, min(1 - 1e-12, rho))
    half = _Z * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
