"""The benchmark's folder and the rule of its averages."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bionemo_ext.errors import DataError
from bionemo_ext.tasks.proteingym import averages, read_reference, standard_errors

ROWS = [
    ("A1", "P1", "Activity"), ("A2", "P1", "Activity"), ("A3", "P2", "Activity"),
    ("S1", "P1", "Stability"), ("S2", "P3", "Stability"), ("B1", "P4", "Binding"),
]  # fmt: skip


@pytest.fixture
def reference(tmp_path):
    lines = ["DMS_id,DMS_filename,UniProt_ID,coarse_selection_type,target_seq"]
    lines += [f"{name},{name}.csv,{protein},{kind},MKT" for name, protein, kind in ROWS]
    (tmp_path / "reference.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "reference.csv"


def test_averages_are_those_of_the_benchmarks_own_script(reference):
    for name, _, _ in ROWS:
        (reference.parent / f"{name}.csv").touch()
    assays, missing = read_reference(reference, reference.parent)
    assert not missing
    values = {"A1": 0.1, "A2": 0.5, "A3": 0.7, "S1": 0.2, "S2": 0.4, "B1": -0.3}
    # Its two group-bys.
    table = pd.DataFrame([(*row, values[row[0]]) for row in ROWS], columns=["id", "p", "s", "v"])
    by_selection = table.groupby(["p", "s"])["v"].mean().groupby("s").mean()
    found = averages(assays, values)
    assert found.pop("Average") == pytest.approx(by_selection.mean())
    assert found == pytest.approx(by_selection.to_dict())
    assert "Binding" not in averages(assays, {**values, "B1": math.nan})


def test_errors_are_those_of_a_bootstrap_over_proteins(reference):
    for name, _, _ in ROWS:
        (reference.parent / f"{name}.csv").touch()
    assays, _ = read_reference(reference, reference.parent)
    values = {"A1": 0.1, "A2": 0.5, "A3": 0.7, "S1": 0.2, "S2": 0.4}
    found = standard_errors(assays, values)
    rng = np.random.default_rng(0)
    activity, stability = (
        np.array(means)[rng.integers(2, size=(200_000, 2))].mean(axis=1)
        for means in ([0.3, 0.7], [0.2, 0.4])
    )
    expected = {
        "Activity": activity.std(), "Stability": stability.std(),
        "Average": ((activity + stability) / 2).std(),
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=0.01)
    with_one_alone = standard_errors(assays, {**values, "B1": -0.3})
    assert math.isnan(with_one_alone["Binding"])
    assert math.isnan(with_one_alone["Average"])
    assert with_one_alone["Activity"] == found["Activity"]


def test_scans_that_are_missing_are_named(reference):
    for name in ("A1", "S2"):
        (reference.parent / f"{name}.csv").touch()
    assays, missing = read_reference(reference, reference.parent)
    assert [assay.name for assay in assays] == ["A1", "S2"]
    assert missing == ["A2", "A3", "S1", "B1"]


def test_what_is_wrong_with_the_folder(reference):
    with pytest.raises(DataError, match="none of the 6 scans that"):
        read_reference(reference, reference.parent)
    with pytest.raises(DataError, match=r"there is no file nowhere\.csv"):
        read_reference(Path("nowhere.csv"), reference.parent)
    reference.write_text("DMS_id,UniProt_ID\n")
    with pytest.raises(DataError, match="has no column DMS_filename; it has DMS_id, UniProt_ID"):
        read_reference(reference, reference.parent)
