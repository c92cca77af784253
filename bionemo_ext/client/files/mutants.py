"""Lists of variants as users write them: on the command line, or as a table."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bionemo_ext.errors import DataError
from bionemo_ext.sequences.csv_table import read_table


@dataclass(frozen=True)
class Mutants:
    """Variants that are to be scored.

    Parameters
    ----------
    by_name : mapping of str to list of str
        Variants such as ``A24G`` or ``A24G:L30P`` by the name of their protein; those under None
        are of every protein.
    """

    by_name: Mapping[str | None, Sequence[str]]

    def of(self, name: str) -> list[str]:
        """Variants of the protein called ``name``, in the order of the list."""
        return [*self.by_name.get(None, ()), *self.by_name.get(name, ())]

    def others(self, names: set[str]) -> list[str]:
        """Name the proteins that have variants and are not among ``names``."""
        return [name for name in self.by_name if name is not None and name not in names]

    @property
    def digest(self) -> str:
        """Tells lists apart."""
        text = json.dumps([[name, list(mutants)] for name, mutants in self.by_name.items()])
        return hashlib.sha256(text.encode()).hexdigest()


def read_mutants(text: str) -> Mutants:
    """Read variants.

    Parameters
    ----------
    text : str
        Variants separated by commas; or a CSV file with the column ``mutant`` (as ProteinGym's
        have), and ``name`` where it has those of several proteins.

    Raises
    ------
    DataError
        If the file is missing, has no such column or a row without a mutant, or there are none.
    """
    path = Path(text)
    if path.suffix.lower() != ".csv":
        variants = [variant.strip() for variant in text.split(",")]
        if not all(variants):
            raise DataError(f"{text!r} has an empty place; variants look like A24G,A24G:L30P")
        return Mutants({None: variants})
    found: dict[str | None, list[str]] = {}
    for line, row in read_table(path, ("mutant",)):
        variant = row["mutant"]
        if not variant or "," in variant:
            raise DataError(
                f"{path}, line {line} has the mutant {variant!r}; one looks like A24G or A24G:L30P"
            )
        found.setdefault(row.get("name"), []).append(variant)
    if not found:
        raise DataError(f"{path} has no rows")
    return Mutants(found)
