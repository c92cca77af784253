"""Results as pandas tables."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bionemo_ext.client import Prediction, Result, Structure
from bionemo_ext.client.frames import to_frame
from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.errors import InputError

RNG = np.random.default_rng(0)
RESIDUES = TaskInfo("fold", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"))
VALUE = TaskInfo("heat", Level.SEQUENCE, Kind.REGRESSION)


def numbers(*shape):
    return RNG.random(shape, dtype=np.float32)


def test_embeddings():
    results = [
        Result(name, sequence, 9, 1, {"mean": numbers(4), "residues": numbers(len(sequence), 4)})
        for name, sequence in (("a", "MKT"), ("b", "MKTVR"))
    ]
    frame = to_frame(iter(results))
    assert frame.columns.tolist() == ["name", "sequence", "length", "windows", "mean", "residues"]
    expected = [result.values["mean"] for result in results]
    np.testing.assert_array_equal(np.stack(frame["mean"]), expected)
    np.testing.assert_array_equal(frame["residues"][1], results[1].values["residues"])


def test_predictions_of_residues_have_a_row_each():
    one = Prediction("a", "MKT", RESIDUES, np.eye(3, dtype=np.float32))
    two = Prediction("b", "M", RESIDUES, np.float32([[0.25, 0.5, 0.25]]))
    frame = to_frame([one, two])
    assert frame["name"].tolist() == ["a", "a", "a", "b"]
    assert frame["position"].tolist() == [1, 2, 3, 1]
    assert frame["label"].tolist() == ["C", "E", "H", "E"]
    assert frame["p_E"].tolist() == [0, 1, 0, 0.5]


def test_a_number_a_protein_and_structures():
    frame = to_frame([Prediction("a", "MKT", VALUE, np.float32([1.5]))])
    assert frame.to_dict("records") == [{"name": "a", "residues": 3, "value": 1.5}]
    frame = to_frame([Structure("a", "MK", "ATOM", numbers(2), numbers(2, 2), 0.75)])
    assert frame.loc[0, ["name", "pdb", "ptm"]].tolist() == ["a", "ATOM", 0.75]
    assert isinstance(to_frame([]), pd.DataFrame)


def test_mixed_ones_are_refused():
    mixed = [Prediction("a", "M", VALUE, numbers(1)), Prediction("a", "M", RESIDUES, numbers(1, 3))]
    with pytest.raises(InputError, match="a table is of one kind of result, and of one task"):
        to_frame(mixed)


def test_without_pandas_a_sentence_says_what_to_install():
    code = """
import sys
sys.modules["pandas"] = None
from bionemo_ext.client.frames import to_frame
try:
    to_frame([])
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "RunError pandas is not installed, which tables need: pip install pandas\n"
    )
