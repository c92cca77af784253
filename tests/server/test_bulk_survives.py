"""A bulk job through the real server, stopped by signals and by the server's own end."""

import random
import re
import signal
import time

import numpy as np
import pytest
from bulk_run import BulkRun, random_proteins, sequences_answered

from bionemo_ext.serving import LocalServer

pytestmark = pytest.mark.server

# Four parts, and enough records more that a run is stopped before it ends.
COUNT = 10_000
PART = 2_048


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    return random_proteins(tmp_path_factory.mktemp("bulk") / "proteins.fasta", COUNT)


@pytest.fixture(scope="module")
def uninterrupted(proteins, server, tmp_path_factory):
    """What one run gives that nothing disturbs."""
    out = tmp_path_factory.mktemp("uninterrupted") / "x.npz"
    with BulkRun(proteins, server.url, out) as run:
        assert run.summary()["records"] == COUNT
    return dict(np.load(out))


@pytest.fixture(scope="module")
def own(exported):
    """A server that may be killed."""
    with LocalServer(exported.repository, threads=1) as running:
        yield running


def same(out, uninterrupted):
    """Every protein once, in the order of the file, with its own numbers."""
    data = np.load(out)
    assert set(data) == set(uninterrupted)
    for name, expected in uninterrupted.items():
        if name == "embeddings":  # packed with other neighbours, sums may round differently
            np.testing.assert_allclose(data[name], expected, rtol=0, atol=1e-5)
        else:
            np.testing.assert_array_equal(data[name], expected)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_stopped_by_signals_it_goes_on_without_asking_again(
    proteins, server, uninterrupted, tmp_path
):
    rng, out = random.Random(1), tmp_path / "x.npz"
    kept = 0
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        with BulkRun(proteins, server.url, out) as run:
            run.wait_for_parts(run.parts + 1)
            time.sleep(rng.random() / 4)
            code, said = run.stop(number)
        assert not out.exists()
        if number == signal.SIGKILL:
            assert (code, said) == (-number, "")
            kept = PART * run.parts
        else:
            assert code == 128 + number
            told = re.fullmatch(
                r"bionemo-ext: interrupted; ([\d,]+) records are kept, the same command goes on "
                r"from there\n",
                said,
            )
            assert told, said
            assert int(told[1].replace(",", "")) > kept
            kept = int(told[1].replace(",", ""))
    before = sequences_answered(server.url)
    with BulkRun(proteins, server.url, out) as run:
        summary = run.summary()
    assert (summary["records"], summary["resumed"]) == (COUNT, kept)
    assert sequences_answered(server.url) - before == COUNT - kept
    same(out, uninterrupted)


def test_a_server_that_is_killed_twice_costs_nothing(proteins, own, uninterrupted, tmp_path):
    out = tmp_path / "x.npz"
    with BulkRun(proteins, own.url, out, "--timeout", 300) as run:
        for _ in range(2):
            run.wait_for_parts(run.parts + 1)
            own.restart()
        summary = run.summary()
    # What was answered after the last restart is the rest alone.
    assert sequences_answered(own.url) <= COUNT - PART
    assert (summary["records"], summary["resumed"]) == (COUNT, 0)
    same(out, uninterrupted)


def test_a_lost_server_keeps_what_came_before(proteins, own, server, uninterrupted, tmp_path):
    out = tmp_path / "x.npz"
    with BulkRun(proteins, own.url, out, "--timeout", 3) as run:
        run.wait_for_parts(1)
        own.stop()
        printed, said = run.process.communicate(timeout=120)
    assert (run.process.returncode, printed) == (1, "")
    assert re.fullmatch(
        r"bionemo-ext: .*; [\d,]+ records are kept, the same command goes on from there\n", said
    )
    # Where the server is does not matter: it is the same model.
    with BulkRun(proteins, server.url, out) as again:
        assert again.summary()["resumed"] >= PART
    same(out, uninterrupted)
