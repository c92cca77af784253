"""A bulk job keeps what it has, whatever stops it, and takes nothing for whole that is not."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bionemo_ext.client import Result
from bionemo_ext.client.jobs import BulkJob, parts
from bionemo_ext.client.jobs import job as job_module
from bionemo_ext.errors import InputError, RunError
from bionemo_ext.sequences import Record

ABOUT = {"model": "abc", "outputs": "mean"}
RECORDS = [Record(f"p|{i}", "MKTVRQ"[: 1 + i % 6] * 3) for i in range(60)]


def result(record: Record, cut: int | None = None) -> Result:
    rng = np.random.default_rng(len(record.name) + int(record.name[2:]))
    used = record.sequence[:cut]
    values = {
        "mean": rng.normal(size=4).astype(np.float32),
        "residues": rng.normal(size=(len(used), 4)).astype(np.float32),
        "pdb": np.array([f"ATOM {record.name}\n"], dtype=object),
    }
    return Result(record.name, used, len(record.sequence), 1, values)


RESULTS = [result(record) for record in RECORDS]


def same(found, wanted):
    assert [one.name for one in found] == [one.name for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert (one.sequence, one.length, one.windows) == (
            other.sequence,
            other.length,
            other.windows,
        )
        for name in ("mean", "residues"):
            assert one.values[name].dtype == np.float32
            np.testing.assert_array_equal(one.values[name], other.values[name])
        assert one.values["pdb"].tolist() == other.values["pdb"].tolist()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "x.npz"


def stopped_after(out, count, error=KeyboardInterrupt, per_part=7):
    """Leave a job early."""

    def work():
        with BulkJob(out, ABOUT) as job:
            for index, one in enumerate(RESULTS[:count], start=1):
                job.add(one)
                if index % per_part == 0:
                    job.flush()
            raise error

    with pytest.raises(error):
        work()


@pytest.mark.parametrize("count", [1, 7, 30])
def test_a_stopped_job_goes_on_with_the_next_record(out, count):
    stopped_after(out, count)
    assert not out.exists()
    with BulkJob(out, ABOUT) as job:
        assert len(job) == count
        left = list(job.remaining(RECORDS))
        assert left == RECORDS[count:]
        for record in left:
            job.add(result(record))
        same(list(job), RESULTS)
        job.flush()
        same(list(job), RESULTS)
        with job.place(out) as path:
            path.write_text("whole")
        job.finish()
    assert [path.name for path in out.parent.iterdir()] == ["x.npz"]


def test_a_truncated_record_is_known_again(out):
    with BulkJob(out, ABOUT) as job:
        job.add(result(RECORDS[5], cut=2))
    with BulkJob(out, ABOUT) as job:
        assert list(job.remaining(RECORDS[5:7])) == [RECORDS[6]]


OTHERS = {
    "another first record": (RECORDS[1:], "record 1 was 'p|0' of 3 residues, and is 'p|1' of 6"),
    "another sequence": (
        [Record("p|0", "MKTV"), *RECORDS[1:]],
        "record 1 was 'p|0' of 3 residues, and is 'p|0' of 4",
    ),
    "another letter": ([Record("p|0", "MMC"), *RECORDS[1:]], "record 1 was 'p|0'"),
    "fewer records": (RECORDS[:3], "record 4 was 'p|3' of 12 residues, and is missing"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_input_is_refused(out, what):
    records, sentence = OTHERS[what]
    stopped_after(out, 9)
    with pytest.raises(InputError) as refused, BulkJob(out, ABOUT) as job:
        list(job.remaining(records))
    assert sentence in str(refused.value)
    assert "--restart" in str(refused.value)
    with BulkJob(out, ABOUT) as job:
        assert len(job) == 9


def test_another_job_is_refused_and_restart_throws_the_parts_away(out):
    stopped_after(out, 9)
    with pytest.raises(InputError, match=r"9 records of another job \(model abc, now def\)"):
        BulkJob(out, {**ABOUT, "model": "def"}).__enter__()
    with BulkJob(out, {**ABOUT, "model": "def"}, restart=True) as job:
        assert len(job) == 0
        job.add(RESULTS[0])
    with pytest.raises(InputError, match="model def, now abc"):
        BulkJob(out, ABOUT).__enter__()


def test_two_at_once_are_refused(out):
    with BulkJob(out, ABOUT) as job:
        with pytest.raises(InputError, match=r"another process is writing .*x\.npz"):
            BulkJob(out, ABOUT).__enter__()
        job.add(RESULTS[0])
    with BulkJob(out, ABOUT) as job:
        assert len(job) == 1


def test_a_job_without_results_leaves_nothing(out):
    with pytest.raises(ZeroDivisionError), BulkJob(out, ABOUT):
        raise ZeroDivisionError
    assert not list(out.parent.iterdir())


def test_results_that_no_part_has_do_not_outlast_the_process(out):
    with BulkJob(out, ABOUT) as job:
        job.add(RESULTS[0])
        assert (len(job), job.on_disk) == (1, 0)
        job.flush()
        assert (len(job), job.on_disk) == (1, 1)


def test_an_error_names_the_place_that_was_asked_for(out):
    with pytest.raises(RunError) as full, BulkJob(out, ABOUT) as job, job.place(out) as path:
        raise RunError(f"{path} cannot be written: No space left on device")
    assert str(full.value) == f"{out} cannot be written: No space left on device"


def test_half_written_files_are_not_taken_for_parts(out):
    stopped_after(out, 14)
    with BulkJob(out, ABOUT) as job:
        folder = job.folder
    (folder / "00000002.partial").write_bytes(b"half")
    (folder / "x.npz").write_bytes(b"half an output")
    (folder / "structures").mkdir()
    (folder / "structures" / "a.pdb").touch()
    with BulkJob(out, ABOUT) as job:
        same(list(job), RESULTS[:14])
        assert sorted(path.name for path in folder.iterdir()) == [
            "00000000.arrow", "00000001.arrow", "lock", "manifest.json",
        ]  # fmt: skip


def test_a_damaged_part_is_one_sentence(out):
    stopped_after(out, 14)
    part = out.parent / ".x.npz.parts" / "00000001.arrow"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(RunError, match=r"00000001\.arrow is damaged .*--restart"):
        BulkJob(out, ABOUT).__enter__()


def test_a_signal_at_any_line_loses_nothing_that_a_part_has_and_repeats_nothing(tmp_path):
    """KeyboardInterrupt before every line of the code in turn, in add, flush and writing."""
    watched = {job_module.__file__, parts.__file__}

    def interrupted(out, after, flushed):
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            if frame.f_code.co_filename not in watched:
                return None
            if event == "line":
                count += 1
                if count == after:
                    raise KeyboardInterrupt
            return trace

        with BulkJob(out, ABOUT) as job:
            sys.settrace(trace)
            try:
                for one in RESULTS[:3]:
                    job.add(one)
                    job.flush()
                    flushed.append(one)
            finally:
                sys.settrace(None)

    lines = 0
    while True:
        lines += 1
        out, flushed = tmp_path / f"{lines}.npz", []
        try:
            interrupted(out, lines, flushed)
            break
        except KeyboardInterrupt:
            with BulkJob(out, ABOUT) as job:
                kept = list(job)
                assert len(kept) >= len(flushed)
                same(kept, RESULTS[: len(kept)])
    assert lines > 50


# Writes to the end of its allowance, and says what it was told.
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from bionemo_ext.client import Result
from bionemo_ext.client.jobs import BulkJob, parts
from bionemo_ext.client.jobs import job as job_module
from bionemo_ext.errors import BionemoExtError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
rows = np.zeros((100, 200), dtype=np.float32)
try:
    with BulkJob(Path(sys.argv[1]), {}) as job:
        for i in range(5):
            job.add(Result(str(i), "M" * 100, 100, 1, {"residues": rows}))
            if i < 2 or i == 4:
                job.flush()
except BionemoExtError as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_keeps_the_parts_before_it(out):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), out],
        capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout == f"RunError {out} cannot be written: File too large\n", done.stderr
    with BulkJob(out, {}) as job:
        assert [one.name for one in job] == ["0", "1"]
        assert not list(job.folder.glob("*.partial"))


def test_parts_end_by_size_and_by_time(out, monkeypatch):
    big = Result("big", "M" * 1000, 1000, 1, {"residues": np.zeros((1000, 5000), np.float32)})
    with BulkJob(out, ABOUT) as job:
        job.add(big)
        job.add(big)
        assert len(list(job.folder.glob("*.arrow"))) == 1  # 40 MB
        job.add(RESULTS[0])
        clock = job_module.time.monotonic() + 21
        monkeypatch.setattr(job_module.time, "monotonic", lambda: clock)
        job.add(RESULTS[1])
        assert len(list(job.folder.glob("*.arrow"))) == 2


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        BulkJob(tmp_path / "file" / "x.npz", ABOUT).__enter__()
