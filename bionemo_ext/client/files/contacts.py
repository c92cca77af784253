"""Write contact maps: all of them as arrays, or the likely contacts as a table."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bionemo_ext.client.files.npz import NpzFile
from bionemo_ext.client.files.tables import decimals, table_file
from bionemo_ext.client.results import Result
from bionemo_ext.contract import CONTACTS
from bionemo_ext.whole import whole

CONTACT_SUFFIXES = (".npz", ".csv", ".parquet")


def write_contacts(
    path: Path, results: Iterable[Result], *, threshold: float, separation: int
) -> None:
    """Write contact maps in the format of the suffix.

    Parameters
    ----------
    path : Path
        The file; it is replaced. ``.npz`` has an array [L, L] a protein by its name, with all
        probabilities; tables have the contacts ``name, i, j, p``.
    results : iterable of Result
        With the output ``contacts``, [L, L].
    threshold : float
        Least probability of a contact in a table.
    separation : int
        Least distance j - i along the chain of a contact in a table.

    Raises
    ------
    RunError, InputError
        If it cannot be written.
    """
    with whole(path) as partial:
        if path.suffix.lower() == ".npz":
            with NpzFile(partial) as file:
                for result in results:
                    file.add(result.name, result.values[CONTACTS])
            return
        types = {"name": str, "i": int, "j": int, "p": float}
        about = {"threshold": threshold, "separation": separation}
        with table_file(partial, types, about) as write:
            for result in results:
                upper = np.triu(result.values[CONTACTS], k=separation)
                i, j = np.nonzero((upper >= threshold) & (upper > 0))
                write(
                    {
                        "name": [result.name] * len(i),
                        "i": (i + 1).tolist(),
                        "j": (j + 1).tolist(),
                        "p": decimals(upper[i, j]),
                    }
                )
