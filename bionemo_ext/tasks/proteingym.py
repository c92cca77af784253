"""ProteinGym's substitution benchmark: its folder, and the rule of its averages.

A folder of CSV files, one a deep mutational scan, and a reference file (``DMS_substitutions.csv``)
with a row a scan (Notin et al., NeurIPS 2023 Datasets and Benchmarks, doi
10.1101/2023.12.07.570727).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pvariance

from bionemo_ext.errors import DataError
from bionemo_ext.sequences.csv_table import read_table

_COLUMNS = ("DMS_id", "DMS_filename", "UniProt_ID", "coarse_selection_type", "target_seq")
AVERAGE = "Average"


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
    table = read_table(path, *((name,) for name in _COLUMNS))
    rows = [tuple(row[name] for name in _COLUMNS) for _, row in table]
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
    found = {name: fmean(values) for name, values in _by_protein(assays, values).items()}
    return {**found, AVERAGE: fmean(found.values()) if found else math.nan}


def standard_errors(assays: Sequence[Assay], values: Mapping[str, float]) -> dict[str, float]:
    """Tell how far the :func:`averages` would move with other proteins: bootstrap standard errors.

    As in the benchmark's own script the proteins of each selection are drawn anew, as many as
    there are and with replacement; what this gives is the limit of infinitely many draws. (The
    script does so with differences to the best of several models.)

    Returns
    -------
    dict of str to float
        As :func:`averages`; NaN where a selection has one protein only.
    """
    variances = {
        name: pvariance(values) / len(values) if len(values) > 1 else math.nan
        for name, values in _by_protein(assays, values).items()
    }
    found = {name: math.sqrt(variance) for name, variance in variances.items()}
    return {
        **found,
        AVERAGE: math.sqrt(sum(variances.values())) / len(found) if found else math.nan,
    }


def _by_protein(assays: Sequence[Assay], values: Mapping[str, float]) -> dict[str, list[float]]:
    """Means over the scans of a protein, by selection; selections in their order."""
    groups: dict[str, dict[str, list[float]]] = {}
    for assay in assays:
        value = values.get(assay.name, math.nan)
        if not math.isnan(value):
            of_protein = groups.setdefault(assay.selection, {}).setdefault(assay.protein, [])
            of_protein.append(value)
    return {name: [fmean(scans) for scans in groups[name].values()] for name in sorted(groups)}
