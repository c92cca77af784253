"""Files hold what came, in three formats alike, and are whole or not there."""

import csv
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from bionemo_ext.client import Prediction, Result
from bionemo_ext.client.files.embeddings import write_embeddings
from bionemo_ext.client.files.npz import NpzFile
from bionemo_ext.client.files.predictions import check_task, prediction_file
from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.errors import InputError
from bionemo_ext.whole import check_out

HIDDEN = 4


def results(count: int, residues: bool = True) -> list[Result]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        length = int(rng.integers(1, 30))
        values = {"mean": rng.normal(size=HIDDEN).astype(np.float32)}
        if residues:
            values["residues"] = rng.normal(size=(length, HIDDEN)).astype(np.float32)
        found.append(Result(f"prot|{index}", "A" * length, length + index % 2, 1, values))
    return found


@pytest.mark.parametrize("count", [1, 600])
@pytest.mark.parametrize("suffix", [".npz", ".h5", ".parquet"])
def test_embeddings_come_back(tmp_path, suffix, count):
    path = tmp_path / f"x{suffix}"
    wanted = results(count)
    write_embeddings(path, wanted, "mean")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    names, embeddings, lengths, rows = read(path)
    assert names == [result.name for result in wanted]
    assert lengths == [result.length for result in wanted]
    np.testing.assert_array_equal(embeddings, [result.values["mean"] for result in wanted])
    for got, result in zip(rows, wanted, strict=True):
        np.testing.assert_array_equal(got, result.values["residues"])


def read(path):
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert table.schema.metadata[b"pooling"] == b"mean"
        frame = table.to_pydict()
        rows = [np.array(row, dtype=np.float32) for row in frame["residues"]]
        return frame["name"], np.array(frame["embedding"], np.float32), frame["length"], rows
    if path.suffix == ".npz":
        data = np.load(path)
        names = data["names"].tolist()
        assert data["pooling"] == "mean"
    else:
        data = h5py.File(path)
        names = list(data["names"].asstr()[:])
        assert data.attrs["pooling"] == "mean"
    offsets = data["offsets"][:]
    residues = data["residues"][:]
    rows = [residues[a:b] for a, b in pairwise(offsets)]
    return names, data["embeddings"][:], data["lengths"][:].tolist(), rows


def test_text_gives_the_same_numbers_back(tmp_path):
    wanted = results(300, residues=False)
    write_embeddings(tmp_path / "x.tsv", wanted, "mean")
    for line, result in zip((tmp_path / "x.tsv").read_text().splitlines(), wanted, strict=True):
        name, numbers = line.split("\t")
        assert name == result.name
        np.testing.assert_array_equal(np.float32(numbers.split(" ")), result.values["mean"])


def test_without_residues_there_are_none(tmp_path):
    write_embeddings(tmp_path / "x.npz", results(3, residues=False), "mean")
    assert "residues" not in np.load(tmp_path / "x.npz")


class Broken:
    """Results of which the last ones cannot be read."""

    def __iter__(self):
        yield from results(300)
        raise InputError("the server went away")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".parquet", ".tsv"])
def test_a_failure_on_the_way_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, results(2, residues=suffix != ".tsv"), "mean")
    before = path.read_bytes()

    with pytest.raises(InputError, match="went away"):
        write_embeddings(path, Broken(), "mean")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x.txt", "says the format"), ("no/x.npz", "there is no folder"), ("d.npz", "is a folder")],
)
def test_a_file_that_cannot_be_written_is_refused_early(tmp_path, name, reason):
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(InputError, match=reason):
        check_out(tmp_path / name, (".npz",))


def test_an_array_written_in_pieces_must_have_its_shape(tmp_path):
    pieces = [np.ones((2, 3)), np.zeros((1, 3))]
    with NpzFile(tmp_path / "x.npz") as file:
        file.stream("whole", (3, 3), np.float32, pieces)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["whole"], np.concatenate(pieces))
    with (
        pytest.raises(ValueError, match=r"'x' of shape \(4, 3\) has -3 values"),
        NpzFile(tmp_path / "y.npz") as file,
    ):
        file.stream("x", (4, 3), np.float32, pieces)


# 100 proteins of 1,000 residues, 128 MB in all, of which one at a time exists.
LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from bionemo_ext.client import Result
from bionemo_ext.client.files.embeddings import write_embeddings
class Results:
    def __len__(self):
        return 100
    def __iter__(self):
        for i in range(100):
            rows = np.random.default_rng(i).random((1000, 320), dtype=np.float32)
            yield Result(str(i), "M" * 1000, 1000, 1, {"mean": rows[0], "residues": rows})
path = Path(sys.argv[1])
write_embeddings(path.with_name("small" + path.suffix), list(Results())[:1], "mean")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_embeddings(path, Results(), "mean")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".parquet"])
def test_a_large_file_is_written_in_little_memory(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", LARGE, path],
        capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 100_000_000
    assert int(done.stdout) < 64 * 1024, "KiB more than before"


# The file may grow to so many bytes: the system then says that it is too large, as it would say
# that the disk is full.
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from bionemo_ext.client import Result
from bionemo_ext.client.files.embeddings import write_embeddings
from bionemo_ext.errors import RunError
rows = np.random.default_rng(0).random((500, 320), dtype=np.float32)
values = {"mean": rows[0], "residues": rows} if sys.argv[1] != "x.tsv" else {"mean": rows[0]}
results = [Result(str(i), "M" * 500, 500, 1, values) for i in range(40 * len(rows) // 500)]
write_embeddings(Path("whole" + sys.argv[1][1:]), results, "mean")
size = Path("whole" + sys.argv[1][1:]).stat().st_size
for share in (0.01, 0.3, 0.6, 0.9, 0.99):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), resource.RLIM_INFINITY))
    try:
        write_embeddings(Path(sys.argv[1]), results, "mean")
    except RunError as error:
        print(error)
"""


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".parquet", ".tsv"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, suffix):
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"x{suffix}"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"x{suffix} cannot be written: File too large\n" * 5
    assert [path.name for path in tmp_path.iterdir()] == [f"whole{suffix}"]


def test_hdf5_never_sees_an_error(tmp_path):
    """It calls on with the exception pending, and Python may then not find the file's methods."""
    script = """
import errno, resource
from bionemo_ext.client.files.embeddings import _Unfailing
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for act in (lambda file: file.truncate(5000), lambda file: file.write(bytes(5000))):
    with _Unfailing("x", "w+") as file:
        assert act(file) == 5000
        assert file.error.errno == errno.EFBIG
        assert file.truncate(6000) == 6000
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


CLASSES = TaskInfo("fold", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"))
PLACE = TaskInfo("place", Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"))
HEAT = TaskInfo("heat", Level.SEQUENCE, Kind.REGRESSION)
SITES = TaskInfo("sites", Level.RESIDUE, Kind.MULTILABEL, ("metal", "small"))


def predictions(task: TaskInfo) -> list[Prediction]:
    rng = np.random.default_rng(1)
    found = []
    for name, sequence in (("a", "MKT"), ("b", "MKTG")):
        shape = (task.outputs,) if task.level == "sequence" else (len(sequence), task.outputs)
        values = rng.random(shape).astype(np.float32)
        found.append(Prediction(name, sequence, task, values))
    return found


@pytest.mark.parametrize("task", [CLASSES, PLACE, HEAT, SITES], ids=lambda task: task.name)
def test_predictions_agree_in_all_formats(tmp_path, task):
    wanted = predictions(task)
    for suffix in (".json", ".csv", ".parquet"):
        with prediction_file(tmp_path / f"x{suffix}", task) as write:
            for prediction in wanted:
                write(prediction)
    from_parquet = pq.read_table(tmp_path / "x.parquet").to_pylist()
    with (tmp_path / "x.csv").open() as file:
        from_csv = list(csv.DictReader(file))
    assert [{key: str(value) for key, value in row.items()} for row in from_parquet] == from_csv
    whole = json.loads((tmp_path / "x.json").read_text())
    assert whole["task"]["name"] == task.name
    assert [entry["name"] for entry in whole["predictions"]] == ["a", "b"]
    for entry, prediction in zip(whole["predictions"], wanted, strict=True):
        key = "value" if task.kind == "regression" else "probabilities"
        np.testing.assert_allclose(
            np.ravel(entry[key]), prediction.values.ravel(), rtol=0, atol=1e-6
        )
    if task is CLASSES:
        assert len(from_csv) == 7
        best = np.concatenate([p.values for p in wanted]).argmax(axis=1)
        assert [row["label"] for row in from_csv] == ["CEH"[index] for index in best]
        assert [row["position"] for row in from_csv] == ["1", "2", "3", "1", "2", "3", "4"]
    if task is SITES:
        values = np.concatenate([p.values for p in wanted])
        named = [";".join(np.array(task.classes)[row >= 0.5]) for row in values]
        assert [row["label"] for row in from_csv] == named
        assert {"", "metal;small"} < set(named)


def test_classes_of_residues_as_fasta(tmp_path):
    wanted = predictions(CLASSES)
    with prediction_file(tmp_path / "x.fasta", CLASSES) as write:
        for prediction in wanted:
            write(prediction)
    letters = ["".join(prediction.labels) for prediction in wanted]
    assert (tmp_path / "x.fasta").read_text() == f">a\n{letters[0]}\n>b\n{letters[1]}\n"


@pytest.mark.parametrize("task", [PLACE, HEAT, SITES], ids=lambda task: task.name)
def test_fasta_holds_one_letter_a_residue_only(tmp_path, task):
    with pytest.raises(InputError, match=f"{task.name!r} does not predict one class of one letter"):
        check_task(tmp_path / "x.fasta", task)


def test_a_file_of_predictions_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")

    def broken():
        with prediction_file(path, PLACE) as write:
            write(predictions(PLACE)[0])
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
