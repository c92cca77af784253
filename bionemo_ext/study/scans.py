"""Score deep mutational scans, and say how well the scores rank what was measured."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import DataError
from bionemo_ext.study.features import whole
from bionemo_ext.tasks.dms import Scan
from bionemo_ext.tasks.ranking import ranking_intervals, ranking_scores
from bionemo_ext.tasks.variant_effects import MaskedModel, Method, score_variants

if TYPE_CHECKING:
    import pandas as pd

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

    def metrics(self, resamples: int = 1000) -> dict[str, dict[str, float]]:
        """ProteinGym's metrics with 95% bootstrap intervals over variants.

        Returns
        -------
        dict of str to dict
            ``value``, ``low`` and ``high`` by metric.

        Raises
        ------
        DataError
            If the scan has no measurements.
        """
        measured, fit = self.scan.measured, self.scan.fit
        if measured is None:
            raise DataError(f"{self.scan.name} has no measurements (target or DMS_score)")
        values = ranking_scores(measured, self.scores, fit)
        ends = ranking_intervals(measured, self.scores, fit, resamples=resamples)
        return {
            name: {"value": value, "low": ends[name][0], "high": ends[name][1]}
            for name, value in values.items()
        }

    def table(self) -> "pd.DataFrame":
        """A row a variant: ``mutant``, ``score`` and, where there is one, ``measured``."""
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


def write_scores(path: Path, scored: ScoredScan) -> None:
    """Write the table in the format of the suffix, one of :data:`SUFFIXES`."""
    table = scored.table()
    with whole(path) as partial:
        if path.suffix == ".csv":
            table.to_csv(partial, index=False)
        elif path.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            rows = {"method": scored.method.value, "scores": table.to_dict("records")}
            partial.write_text(json.dumps(rows, indent=1) + "\n")
