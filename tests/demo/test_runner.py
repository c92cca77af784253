"""Steps are real commands; the folder is emptied only if it is a demo's own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bionemo_ext.demo import runner
from bionemo_ext.demo.steps import Served, Steps
from bionemo_ext.errors import InputError, RunError
from bionemo_ext.sequences import clean_sequence


def test_a_step_is_timed_and_measured(capfd):
    steps = Steps()
    steps.run("version", ["--version"])
    (step,) = steps.done
    assert step.command == "bionemo-ext --version"
    assert 0 < step.seconds < 60
    assert 10 < step.peak_mib < 4000
    assert "bionemo-ext 0" in capfd.readouterr().out


def test_a_failing_step_ends_the_demo(tmp_path):
    steps = Steps()
    words = ["export", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]
    with pytest.raises(RunError, match="'export' ended with exit code 2"):
        steps.run("export", words)
    assert not steps.done


def test_a_server_that_does_not_start_is_told(tmp_path):
    with (
        pytest.raises(RunError, match="the server did not start"),
        Served(Steps(), ["serve", str(tmp_path / "nothing")]),
    ):
        pytest.fail("nothing to serve")


def processes_of(folder):
    """Command lines of this machine's processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_nothing_outlives_a_demo_that_is_ended(tmp_path):
    words = [sys.executable, "-m", "bionemo_ext", "demo", "--out", str(tmp_path / "demo")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as demo:
        for line in demo.stdout:
            if line.startswith("== pretrain"):
                break
        time.sleep(2)
        assert len(processes_of(tmp_path)) >= 2
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(timeout=60) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 20
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(tmp_path) == []


def test_a_foreign_folder_is_left_alone(tmp_path, refusal):
    (tmp_path / "thesis.txt").write_text("years of work")
    code, sentence = refusal("demo", "--out", tmp_path)
    assert code == 2
    assert "not a demo's" in sentence
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="is a file"):
        runner._make_folder(tmp_path / "thesis.txt", keep=False)


@pytest.mark.parametrize("keep", [False, True])
def test_a_rerun_empties_its_own_folder(tmp_path, keep):
    out = tmp_path / "deep" / "demo"
    runner._make_folder(out, keep=False)
    (out / "pretrain").mkdir()
    (out / "model" / "triton").mkdir(parents=True)
    (out / "report.html").write_text("old")
    runner._make_folder(out, keep=keep)
    left = {path.name for path in out.iterdir()} - {runner._MARK}
    assert left == ({"pretrain"} if keep else set())


def test_the_proteins_that_are_asked_about():
    records, labels = runner._test_proteins()
    names = [record.name for record in records]
    assert len(set(names)) == len(names) == 178
    assert len(labels) == 28
    for record in records:
        assert clean_sequence(record.sequence, record.name) == record.sequence
        if record.name in labels:
            assert len(labels[record.name]) == len(record.sequence)


def test_free_ports_differ():
    assert len(set(runner._free_ports(3))) == 3
