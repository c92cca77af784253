"""Per-fold results of a study: this project's Parquet, and the CSV that the study published."""

from pathlib import Path
from typing import TYPE_CHECKING

from bionemo_ext.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = ("model", "dataset", "method", "fold", "r2_test")
_PUBLISHED = {
    "Model": "model",
    "Dataset": "dataset",
    "Compression_method": "method",
    "Fold": "fold",
    "R2_score_train": "r2_train",
    "MAE_score_train": "mae_train",
    "RMSE_score_train": "rmse_train",
    "R2_score_test": "r2_test",
    "MAE_score_test": "mae_test",
    "RMSE_score_test": "rmse_test",
    "rho_score_train": "rho_train",
    "rho_score_test": "rho_test",
    "nun_zero_coefs": "nonzero_coefficients",
}
_PUBLISHED_METHODS = {"maxPool": "max", "bos": "cls"} | {
    f"iDCT{n}": f"idct{n}" for n in range(1, 6)
}


def read_results(path: Path) -> "pd.DataFrame":
    """Read results to be analysed.

    Parameters
    ----------
    path : Path
        ``results.parquet`` of a study, or a CSV file with the published columns.

    Returns
    -------
    DataFrame
        As :func:`bionemo_ext.study.run.run_study` gives; of the published columns those there are.

    Raises
    ------
    DataError
        If it cannot be read, lacks a column, or a score is not a number.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as results: {error}") from None
    table = table.rename(columns=_PUBLISHED)
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; these are no results a fold")
    bad = table.index[pd.to_numeric(table["r2_test"], errors="coerce").isna()]
    if len(bad):
        raise DataError(f"{path}, row {bad[0] + 1}: the test R2 is not a number")
    table["method"] = table["method"].replace(_PUBLISHED_METHODS)
    defaults = {"regressor": "lasso", "protocol": "published", "sample": 0}
    return table.assign(**{k: v for k, v in defaults.items() if k not in table})
