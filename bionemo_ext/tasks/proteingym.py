"""ProteinGym's substitution benchmark: its folder, and the rule of its averages.

A folder of CSV files, one a deep mutational scan, and a reference file (``DMS_substitutions.csv``)
with a row a scan (Notin et al., NeurIPS 2023 Datasets and Benchmarks, doi
10.1101/2023.12.07.570727).
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bionemo_ext.errors import DataError

_COLUMNS = ("DMS_id", "DMS_filename", "UniProt_ID", "coarse_selection_type", "target_seq")


@dataclass(frozen=True)
class Assay:
    """One scan of the benchmark.

    Parameters
    ----------
    name : str
        Its ``DMS_id``.
    path : Path
        Its file.
    protein : str
        UniProt's name of the protein; several scans may be of one.
    selection : str
        What was selected for: Activity, Binding, Expression, OrganismalFitness or Stability.
    wild : str
        The wild type.
    """

    name: str
    path: Path
    protein: str
    selection: str
    wild: str


def read_reference(path: Path, folder: Path) -> tuple[list[Assay], list[str]]:
    """Read which scans there are.

    Parameters
    ----------
    path : Path
        The reference file.
    folder : Path
        Where the scans lie.

    Returns
    -------
    assays, missing : list of Assay, list of str
        Those whose files are there, and the names of the others.

    Raises
    ------
    DataError
        If the reference cannot be read or lacks a column, or no scan is there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            lacking = [name for name in _COLUMNS if name not in (table.fieldnames or [])]
            if lacking:
                raise DataError(f"{path} has no column {', '.join(lacking)}")
            rows = [tuple(row[name] or "" for name in _COLUMNS) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    assays = [
        Assay(name, folder / file, protein, selection, wild)
        for name, file, protein, selection, wild in rows
    ]
    found = [assay for assay in assays if assay.path.is_file()]
    if not found:
        raise DataError(f"none of the {len(assays):,} scans that {path} names is in {folder}")
    return found, [assay.name for assay in assays if assay not in found]


def averages(assays: Sequence[Assay], values: Mapping[str, float]) -> dict[str, float]:
    """Average a metric by the benchmark's rule.

    Scans of one protein with one selection are averaged first, then the proteins of a selection,
    then the selections; scans without a value are left out.

    Parameters
    ----------
    assays : sequence of Assay
        The scans.
    values : mapping of str to float
        The metric by the scan's name.

    Returns
    -------
    dict of str to float
        By selection, in their order, and ``Average``.
    """
    groups: dict[str, dict[str, list[float]]] = {}
    for assay in assays:
        value = values.get(assay.name, math.nan)
        if not math.isnan(value):
            of_protein = groups.setdefault(assay.selection, {}).setdefault(assay.protein, [])
            of_protein.append(value)
    found = {name: _mean_of_means(groups[name].values()) for name in sorted(groups)}
    return {**found, "Average": fmean(found.values()) if found else math.nan}


def _mean_of_means(groups: Iterable[Sequence[float]]) -> float:
    return fmean(fmean(group) for group in groups)
