"""A model over a whole substitution benchmark: one result a scan, and the benchmark's averages.

``<out>/scans/<name>.json`` is whole or not there; what it has is not computed again.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bionemo_ext import __version__
from bionemo_ext.errors import DataError, InputError
from bionemo_ext.study.features import whole
from bionemo_ext.study.scans import score_scan, write_scores
from bionemo_ext.tasks.dms import read_scan
from bionemo_ext.tasks.proteingym import Assay, averages
from bionemo_ext.tasks.ranking import METRICS
from bionemo_ext.tasks.variant_effects import MaskedModel, Method

Bar = Callable[[str, int], Any]


@dataclass(frozen=True)
class BenchmarkReport:
    """What came out.

    Parameters
    ----------
    scans : dict of str to dict
        By the scan's name: ``variants``, ``left_out`` and ``metrics``, each with ``value``, ``low``
        and ``high``.
    averages : dict of str to dict
        By metric: by selection, and ``Average``, as the benchmark averages.
    failures : list of str
        A sentence for each scan that could not be scored.
    """

    scans: dict[str, dict[str, Any]]
    averages: dict[str, dict[str, float]]
    failures: list[str]


def run_benchmark(
    assays: Sequence[Assay],
    model: MaskedModel,
    identity: str,
    method: Method,
    out: Path,
    advance: Callable[[int], None],
) -> BenchmarkReport:
    """Score every scan and average.

    Parameters
    ----------
    assays : sequence of Assay
        The scans.
    model : MaskedModel
        What gives logits.
    identity : str
        What tells the model from others: results of another are not used.
    method : Method
        How variants are scored.
    out : Path
        Folder of results.
    advance : callable
        Told of scans done.
    """
    found: dict[str, dict[str, Any]] = {}
    failures = []
    (out / "scans").mkdir(parents=True, exist_ok=True)
    for assay in assays:
        try:
            found[assay.name] = _one(assay, model, identity, method, out / "scans")
        except InputError as error:
            failures.append(f"{assay.name}: {error}")
        advance(1)
    table = {
        metric: averages(assays, {name: _value(one, metric) for name, one in found.items()})
        for metric in METRICS
    }
    report = BenchmarkReport(found, table, failures)
    with whole(out / "averages.json") as partial:
        partial.write_text(json.dumps(table, indent=2) + "\n")
    return report


def _one(
    assay: Assay, model: MaskedModel, identity: str, method: Method, folder: Path
) -> dict[str, Any]:
    key = {
        "version": __version__,
        "model": identity,
        "method": method.value,
        "scan": hashlib.sha256(assay.path.read_bytes()).hexdigest(),
        "wild": assay.wild,
    }
    path = folder / f"{assay.name}.json"
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
        if kept.pop("key") == key:
            return kept
    except (OSError, ValueError, KeyError):
        pass
    scan = read_scan(assay.path, assay.wild or None)
    if scan.measured is None:
        raise DataError(f"{assay.path} has no measurements (column DMS_score)")
    scored = score_scan(scan, model, method, lambda done: None)
    write_scores(folder / f"{assay.name}.csv", scored)
    result = {
        "variants": len(scan.variants),
        "left_out": len(scan.left_out),
        "metrics": scored.metrics(),
    }
    with whole(path) as partial:
        partial.write_text(json.dumps({"key": key, **result}, indent=1) + "\n")
    return result


def _value(result: dict[str, Any], metric: str) -> float:
    value = result["metrics"][metric]["value"]
    return math.nan if value is None else float(value)
