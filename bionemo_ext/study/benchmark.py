"""A model over a whole substitution benchmark: one result a scan, and the benchmark's averages.

``<out>/scans/<name>.json`` is whole or not there; what it has is not computed again.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bionemo_ext import __version__
from bionemo_ext.contract.effects import Method
from bionemo_ext.errors import DataError, InputError
from bionemo_ext.sequences.csv_table import count_reasons
from bionemo_ext.study.scans import score_scan, write_scores
from bionemo_ext.tasks.dms import read_scan
from bionemo_ext.tasks.proteingym import Assay, averages, standard_errors
from bionemo_ext.tasks.ranking import METRICS
from bionemo_ext.tasks.variant_effects import check_variant
from bionemo_ext.tasks.variant_windows import MaskedModel
from bionemo_ext.whole import whole


@dataclass(frozen=True)
class BenchmarkReport:
    """What came out.

    Parameters
    ----------
    scans : dict of str to dict
        By the scan's name: ``variants``, ``left_out``, ``reasons`` of those, and ``metrics``, each
        with ``value``, ``low`` and ``high``.
    averages, standard_errors : dict of str to dict
        By metric: by selection, and ``Average``, as the benchmark averages, and their errors; None
        where there is none.
    failures : list of str
        A sentence for each scan that could not be scored.
    """

    scans: dict[str, dict[str, Any]]
    averages: dict[str, dict[str, float | None]]
    standard_errors: dict[str, dict[str, float | None]]
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
        Told of rows done, as :func:`count_rows` counts them.
    """
    found: dict[str, dict[str, Any]] = {}
    failures = []
    (out / "scans").mkdir(parents=True, exist_ok=True)
    for assay in assays:
        rest = count_rows(assay)

        def tell(done: int) -> None:
            nonlocal rest
            rest -= done
            advance(done)

        try:
            found[assay.name] = _one(assay, model, identity, method, out / "scans", tell)
        except InputError as error:
            failures.append(f"{assay.name}: {error}")
        tell(rest)  # those that were left out, or scored before
    values = {
        metric: {name: _value(one, metric) for name, one in found.items()} for metric in METRICS
    }
    means, errors = (
        {metric: _or_none(rule(assays, of_scans)) for metric, of_scans in values.items()}
        for rule in (averages, standard_errors)
    )
    with whole(out / "averages.json") as new:
        table = {"averages": means, "standard_errors": errors}
        new.write_text(json.dumps(table, indent=2) + "\n")
    return BenchmarkReport(found, means, errors, failures)


def count_rows(assay: Assay) -> int:
    """Lines of a scan's file below its first one; 0 where it cannot be read."""
    try:
        with assay.path.open("rb") as file:
            return max(sum(1 for _ in file) - 1, 0)
    except OSError:
        return 0


def _one(
    assay: Assay,
    model: MaskedModel,
    identity: str,
    method: Method,
    folder: Path,
    advance: Callable[[int], None],
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
    check = partial(check_variant, method=method, limit=model.max_residues)
    scan = read_scan(assay.path, assay.wild or None, check=check)
    if scan.measured is None:
        raise DataError(f"{assay.path} has no measurements (column DMS_score)")
    scored = score_scan(scan, model, method, advance)
    write_scores(folder / f"{assay.name}.csv", scored)
    result = {
        "variants": len(scan.variants),
        "left_out": len(scan.left_out),
        "reasons": count_reasons(scan.left_out),
        "metrics": scored.metrics(),
    }
    with whole(path) as new:
        new.write_text(json.dumps({"key": key, **result}, indent=1) + "\n")
    return result


def _or_none(values: dict[str, float]) -> dict[str, float | None]:
    """NaN is no number of JSON's."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _value(result: dict[str, Any], metric: str) -> float:
    value = result["metrics"][metric]["value"]
    return math.nan if value is None else float(value)
