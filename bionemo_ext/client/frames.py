"""Results as pandas tables; pandas is imported here alone, and only when asked for."""

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from bionemo_ext.client.files.predictions import columns
from bionemo_ext.client.results import Prediction, Result, Structure
from bionemo_ext.errors import InputError, RunError

if TYPE_CHECKING:
    import pandas


def to_frame(items: "Iterable[Result | Prediction | Structure]") -> "pandas.DataFrame":
    """Make a table of what a client gave.

    Parameters
    ----------
    items : iterable of Result, Prediction or Structure
        Of one kind; predictions of one task. Of a stream all is held in memory.

    Returns
    -------
    pandas.DataFrame
        Of predictions the columns of the files that ``predict`` writes: a row a protein, or a row
        a residue. Of results and structures a row a protein, each array in one cell:
        ``np.stack(frame["mean"])`` is [N, H].

    Raises
    ------
    RunError
        If pandas is not installed.
    InputError
        If ``items`` are of several kinds or tasks.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise RunError("pandas is not installed, which tables need: pip install pandas") from None

    found = list(items)
    kinds = {(type(one), getattr(one, "task", None)) for one in found}
    if len(kinds) > 1:
        raise InputError("a table is of one kind of result, and of one task; these are of several")
    if found and isinstance(found[0], Prediction):
        tables = [columns(one) for one in found if isinstance(one, Prediction)]
        return pd.DataFrame(
            {name: list(chain.from_iterable(table[name] for table in tables)) for name in tables[0]}
        )
    return pd.DataFrame([_row(one) for one in found])


def _row(item: Any) -> dict[str, Any]:
    row = dict(vars(item))
    values = row.pop("values", {})
    return row | dict(values)
