"""Score deep mutational scans, and say how well the scores rank what was measured."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract.effects import Method
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.dms import Scan
from bionemo_ext.tasks.ranking import ranking_intervals, ranking_scores
from bionemo_ext.tasks.variant_effects import score_variants
from bionemo_ext.tasks.variant_windows import MaskedModel
from bionemo_ext.whole import whole

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

SUFFIXES = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class ScoredScan:
    """A scan with a model's scores.

    Parameters
    ----------
    scan : Scan
        The variants and what was measured.
    method : Method
        How they were scored.
    scores : NDArray
        FP64 [variants]; above 0 the model prefers the variant to the wild type.
    """

    scan: Scan
    method: Method
    scores: NDArray[np.float64]

    def metrics(self, resamples: int = 1000) -> dict[str, dict[str, float | None]]:
        """ProteinGym's metrics with 95% bootstrap intervals over variants.

        Returns
        -------
        dict of str to dict
            ``value``, ``low`` and ``high`` by metric; None where one is not defined.

        Raises
        ------
        DataError
            As :meth:`compared`.
        """
        measured, scores, fit = self.compared()
        values = ranking_scores(measured, scores, fit)
        ends = ranking_intervals(measured, scores, fit, resamples=resamples)
        return {
            name: {
                end: None if math.isnan(number) else number
                for end, number in zip(("value", "low", "high"), (value, *ends[name]), strict=True)
            }
            for name, value in values.items()
        }

    def compared(self) -> tuple[Floats, Floats, NDArray[np.bool_] | None]:
        """Measurements, scores and which are fit, of the variants that were measured.

        Raises
        ------
        DataError
            If fewer than two were.
        """
        measured, fit = self.scan.measured, self.scan.fit
        there = np.zeros(0, dtype=bool) if measured is None else np.isfinite(measured)
        if measured is None or there.sum() < 2:
            raise DataError(
                f"{self.scan.name} has {there.sum()} measurements (column target or DMS_score); "
                "two variants or more are needed to compare with"
            )
        return measured[there], self.scores[there], None if fit is None else fit[there]

    def table(self) -> "pd.DataFrame":
        """A row a variant: ``mutant``, ``score`` and, where the scan has it, ``measured``."""
        import pandas as pd

        columns = {"mutant": self.scan.names, "score": self.scores.round(6)}
        if self.scan.measured is not None:
            columns["measured"] = self.scan.measured
        return pd.DataFrame(columns)


def score_scan(
    scan: Scan, model: MaskedModel, method: Method, advance: Callable[[int], None]
) -> ScoredScan:
    """Score every variant of a scan.

    Raises
    ------
    InputError
        As :func:`bionemo_ext.tasks.variant_effects.score_variants`.
    """
    scores = score_variants(model, scan.wild, scan.variants, method, advance)
    return ScoredScan(scan, method, scores)


def records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows for JSON, which knows no nan."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def write_scores(path: Path, scored: ScoredScan) -> None:
    """Write the table in the format of the suffix, one of :data:`SUFFIXES`."""
    table = scored.table()
    with whole(path) as partial:
        if path.suffix == ".csv":
            table.to_csv(partial, index=False)
        elif path.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            rows = {"method": scored.method.value, "scores": records(table)}
            partial.write_text(json.dumps(rows, indent=1) + "\n")
