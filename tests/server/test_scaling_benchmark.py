"""`benchmarks.scaling`: its rules, its load against a real server, and the whole of it (slow)."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bionemo_ext.client import Client
from bionemo_ext.errors import InputError, RunError

ROOT = Path(__file__).parents[2]
PROTEINS = ["MKTVRQGLWE"[i % 10 :] + "ACDEFGHIKL" * i for i in range(1, 9)]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The benchmarks are not part of the package."""
    monkeypatch.syspath_prepend(ROOT)


def step(load, residues_per_s, **changes):
    from benchmarks.scaling.steps import Step

    fields = {
        "proteins_per_s": residues_per_s / 100, "queue_s": 0.0, "pending": 0.0,
        "pending_most": 0.0, "replica_cores": 1.0, "load_cores": 0.01, "replicas": 1,
        "p50_ms": 1.0, "p99_ms": 2.0,
    }  # fmt: skip
    return Step(load=load, residues_per_s=residues_per_s, **{**fields, **changes})


def test_a_rate_is_that_of_whole_passes():
    from benchmarks.scaling.watch import rate

    # A pass of 800 every two seconds, watched every half second from the middle of one.
    times = np.arange(0, 9, 0.5)
    counts = 5_000 + 800 * np.floor((times + 1) / 2)
    assert rate(times, counts) == 400


def test_saturation_is_where_more_at_once_brings_no_more():
    from benchmarks.scaling.steps import Saturation, saturation

    steps = [step(4, 96), step(1, 50), step(2, 94), step(16, 100), step(8, 98)]
    assert saturation(steps) == Saturation(at_once=4, proteins_per_s=0.98, residues_per_s=98)
    assert saturation([step(1, 50)]).at_once == 1


def test_replicas_for_a_stream_of_proteins():
    from benchmarks.scaling.report import replicas_needed

    # 100 proteins a second of 300 residues are 30,000 residues.
    assert replicas_needed(360_000, 300, 10_000, used=1) == 3
    assert replicas_needed(360_000, 300, 10_000, used=0.7) == 5
    assert replicas_needed(1, 300, 10_000) == 1
    for wrong in ((0, 300, 10, 0.7), (1, 300, 10, 0), (1, 300, 10, 1.1)):
        with pytest.raises(InputError):
            replicas_needed(*wrong)


def test_the_autoscaler_is_asked_for_more_by_either_number():
    from benchmarks.scaling.report import Thresholds

    limits = Thresholds.of_the_chart()
    assert not limits.crossed(step(1, 10, queue_s=limits.queue_s, pending=limits.pending))
    assert limits.crossed(step(1, 10, queue_s=limits.queue_s + 0.01))
    assert limits.crossed(step(1, 10, pending=limits.pending + 0.1))


def test_an_answer_that_belongs_to_another_protein_is_wrong():
    from benchmarks.scaling.failover import check
    from benchmarks.scaling.load import Answer

    truth = np.array([[0, 0], [1, 1], [2, 4]], dtype=np.float32)
    right = [Answer(i, 0, 1, truth[i] + np.float32(0.25)) for i in (0, 1, 2, 1)]
    assert check(right, truth) == (0, 0.25)
    assert check([*right, Answer(1, 0, 1, truth[2])], truth) == (1, 3.0)


def test_random_arrivals_are_the_same_for_a_seed_and_as_many_as_asked_for():
    from benchmarks.scaling.load import Poisson

    first, again, other = (
        list(itertools.islice(Poisson(40.0, seed).arrivals(), 20_000)) for seed in (1, 1, 2)
    )
    assert first == again != other
    times, places = map(np.array, zip(*first, strict=True))
    pauses = np.diff(times)
    assert pauses.mean() == pytest.approx(1 / 40, rel=0.03)
    assert pauses.std() == pytest.approx(1 / 40, rel=0.03)  # as an exponential's
    assert np.histogram(places, 10, (0, 1))[0] == pytest.approx(np.full(10, 2000), rel=0.1)


@pytest.mark.server
@pytest.mark.parametrize("pattern", ["closed", "poisson"])
def test_every_request_of_a_load_has_its_own_answer(server, pattern):
    from benchmarks.scaling.load import Closed, Poisson, load

    with Client(server.url) as client:
        truth = client.embed(PROTEINS)
    kind = Closed(5) if pattern == "closed" else Poisson(60.0)
    with load([server.url], PROTEINS, kind) as outcome:
        end = time.monotonic() + 60
        while len(outcome.answers) < 40 and time.monotonic() < end:
            time.sleep(0.01)
    assert outcome.asked == len(outcome.answers) >= 40
    assert outcome.failures == []
    asked = [answer.protein for answer in outcome.answers]
    assert set(asked) == set(range(len(PROTEINS)))
    found = np.stack([answer.mean for answer in outcome.answers])
    np.testing.assert_allclose(found, truth[asked], rtol=0, atol=1e-5)
    assert all(answer.due < answer.came for answer in outcome.answers)


@pytest.mark.server
def test_what_is_watched_agrees_with_the_server(server):
    from benchmarks.scaling.load import Closed
    from benchmarks.scaling.steps import measure

    found = measure([server], PROTEINS, Closed(4), 1.0)
    mean = found.residues_per_s / found.proteins_per_s
    assert min(map(len, PROTEINS)) < mean < max(map(len, PROTEINS))
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.queue_s > 0
    assert 0 <= found.pending <= found.pending_most <= 4
    assert found.replica_cores > 0
    assert found.load_cores > 0


@pytest.mark.server
def test_a_server_without_work_is_not_watched_for_ever(server):
    from benchmarks.scaling.watch import Watch

    with (
        Watch([server], 0.05) as watch,
        pytest.raises(RunError, match=r"fewer than 4 passes .* in 0\.5 s"),
    ):
        watch.wait()


@pytest.mark.server
@pytest.mark.slow
def test_the_whole_benchmark(exported, tmp_path):
    """Two replicas, one of which is killed: no request is lost, and the figures are all there."""
    figures, picture = tmp_path / "scaling.json", tmp_path / "scaling.png"
    words = ["--export", exported.repository.parent, "--seconds", 1, "--proteins", 32]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.scaling", *map(str, words),
         "--json", figures, "--plot", picture],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(figures.read_text())
    failover = report["failover"]
    assert failover["asked"] == failover["answered"] > 50
    assert failover["lost"] == failover["wrong"] == 0
    assert failover["largest_error"] < 1e-4
    assert failover["answered_after"] > 0
    assert report["replicas_for_a_million"] >= 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "lost" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--export", "."], "scaling: . is not what bionemo-ext export writes: no triton/"),
        (["--seconds", "0"], "scaling: --seconds must be above 0, not 0\n"),
        (["--json", "no/x.json"], "scaling: there is no folder no for x.json\n"),
        (["--plot", "x.txt"], "scaling: "),
    ],
    ids=["export", "seconds", "json", "plot"],
)
def test_what_cannot_be_done_is_told_before_the_work(tmp_path, words, sentence):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.scaling", *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
