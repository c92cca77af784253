"""The Parquet file of predictions, read back as users read it."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.errors import InputError
from bionemo_ext.recipes.finetune import predictions
from bionemo_ext.recipes.finetune.predictions import Predicted, write_predictions

NAN = float("nan")


def rows(path):
    return pq.read_table(path).to_pylist()


def test_a_class_a_residue(tmp_path):
    task = TaskInfo("structure", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E"))
    proteins = [
        Predicted("a", "MK", np.array([0, -100]), np.float32([[0.75, 0.25], [0.5, 0.5]])),
        Predicted("b", "W", np.array([1]), np.float32([[0.25, 0.75]])),
    ]
    path = tmp_path / "predictions.parquet"
    write_predictions(path, task, iter(proteins), {"split": "sampled"})
    keys = ("name", "position", "residue", "truth", "predicted", "p_C", "p_E")
    assert rows(path) == [
        dict(zip(keys, row, strict=True))
        for row in (
            ("a", 1, "M", "C", "C", 0.75, 0.25),
            ("a", 2, "K", None, "C", 0.5, 0.5),
            ("b", 1, "W", "E", "E", 0.25, 0.75),
        )
    ]
    file = pq.ParquetFile(path)
    assert json.loads(file.schema_arrow.metadata[b"task"])["classes"] == ["C", "E"]
    assert file.schema_arrow.metadata[b"split"] == b"sampled"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_class_or_number_a_protein(tmp_path):
    task = TaskInfo("site", Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"))
    write_predictions(
        tmp_path / "c", task, [Predicted("a", "MK", np.array(1), np.float32([0.75, 0.25]))]
    )
    assert rows(tmp_path / "c") == [
        {"name": "a", "truth": "out", "predicted": "in", "p_in": 0.75, "p_out": 0.25}
    ]
    task = TaskInfo("melting", Level.SEQUENCE, Kind.REGRESSION)
    write_predictions(
        tmp_path / "r", task, [Predicted("a", "MK", np.float32(1.5), np.float32([2]))]
    )
    assert rows(tmp_path / "r") == [{"name": "a", "truth": 1.5, "predicted": 2.0}]


def test_labels_and_numbers_that_do_not_count(tmp_path):
    task = TaskInfo("binding", Level.RESIDUE, Kind.MULTILABEL, ("metal", "small"))
    truth = np.float32([[1, 1], [NAN, NAN], [0, 0]])
    raw = np.float32([[0.5, 0.25], [0.25, 0.25], [0.75, 0.75]])
    write_predictions(tmp_path / "m", task, [Predicted("a", "MKW", truth, raw)])
    found = rows(tmp_path / "m")
    assert [row["truth"] for row in found] == [["metal", "small"], None, []]
    assert [row["predicted"] for row in found] == [["metal"], [], ["metal", "small"]]
    assert [row["p_small"] for row in found] == [0.25, 0.25, 0.75]
    task = TaskInfo("disorder", Level.RESIDUE, Kind.REGRESSION)
    write_predictions(
        tmp_path / "r",
        task,
        [Predicted("a", "MK", np.float32([1, NAN]), np.float32([[2], [3]]))],
    )
    assert [(row["truth"], row["predicted"]) for row in rows(tmp_path / "r")] == [(1, 2), (None, 3)]


def test_row_groups_are_written_as_proteins_come(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "_GROUP_ROWS", 10)
    task = TaskInfo("structure", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E"))
    random = np.random.default_rng(0)
    raw = [random.dirichlet([1, 1], 4).astype(np.float32) for _ in range(8)]
    proteins = (Predicted(str(i), "MKLV", x.argmax(1), x) for i, x in enumerate(raw))
    write_predictions(tmp_path / "p", task, proteins)
    assert pq.ParquetFile(tmp_path / "p").num_row_groups == 3
    table = pq.read_table(tmp_path / "p").to_pandas()
    assert (table["p_E"].to_numpy() == np.concatenate(raw)[:, 1]).all()
    assert (table.truth == table.predicted).all()


def test_a_file_that_is_not_whole_is_not_there(tmp_path):
    task = TaskInfo("melting", Level.SEQUENCE, Kind.REGRESSION)

    def proteins():
        yield Predicted("a", "MK", np.float32(1.5), np.float32([2]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(tmp_path / "p", task, proteins())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        write_predictions(tmp_path / "none" / "p", task, [])
