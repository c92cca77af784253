"""Shards on a Ray cluster of this machine: what one process makes, and failures that are told."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

COUNT = 60
PROTEINS = [f">p{i}\n{'MKTVRQGLAE' * (1 + i % 5)}\n" for i in range(COUNT)]


@pytest.fixture
def fasta(tmp_path):
    """Proteins, one of them longer than the model takes."""
    path = tmp_path / "x.fasta"
    path.write_text("".join([*PROTEINS[:50], f">long\n{'MKTVRQG' * 200}\n", *PROTEINS[50:]]))
    return path


@pytest.fixture
def words(fasta, tiny_hf_folder, tmp_path):
    engine = ("--engine", "ray", "--processes", "2", "--offline", tiny_hf_folder)
    return (fasta, "--out", tmp_path / "x.parquet", "--shards", "4", "--long", "refuse", *engine)


def ours(said):
    """Lines on standard error without Ray's own, which begin with a time."""
    return [line for line in said.splitlines() if not line.startswith("[2")]


def test_a_failed_shard_is_told_and_the_others_are_kept(words, command, tmp_path):
    done = command("bulk", *words)
    assert (done.returncode, done.stdout) == (2, "")
    told, end = ours(done.stderr)
    assert told == "bionemo-ext: shard 2: record 'long' has 1,400 residues, the limit is 1,022"
    assert end.startswith("bionemo-ext: 1 of 4 shards failed: 2; the others are kept")

    alone = tmp_path / "alone.parquet"
    offline = words[words.index("--offline") :]
    done = command("embed", words[0], "--out", alone, *offline, "--skip-bad", "--long", "refuse")
    assert done.returncode == 0, done.stderr
    done = command("bulk", *words, "--skip-bad")
    assert done.returncode == 0, done.stderr
    assert "(3 of them were there)" in done.stdout
    table, expected = pq.read_table(tmp_path / "x.parquet"), pq.read_table(alone)
    assert table["name"].to_pylist() == [f"p{i}" for i in range(COUNT)]
    found, wanted = (
        one["embedding"].combine_chunks().flatten().to_numpy() for one in (table, expected)
    )
    assert abs(found - wanted).max() < 1e-5


def test_a_lost_actor_is_replaced_and_a_signal_ends_all(words, tmp_path):
    """Actors are slow to start: there is time to end one of them, and then the command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bionemo_ext", "bulk", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    with process:
        first = actors(process, 1)
        listening = {
            one.laddr.ip.removeprefix("::ffff:")
            for child in psutil.Process(process.pid).children(recursive=True)
            for one in child.net_connections()
            if one.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::1"}
        first[0].kill()
        actors(process, 1, other_than=first)
        process.send_signal(signal.SIGTERM)
        printed, said = process.communicate(timeout=120)
    assert (process.returncode, printed) == (128 + signal.SIGTERM, ""), said
    assert ours(said)[-1].startswith("bionemo-ext: interrupted; ")
    assert "Traceback" not in said
    assert not (tmp_path / "x.parquet").exists()


def actors(process, count, other_than=(), within_s=90):
    """The processes of Ray's actors, once there are so many."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        tree = psutil.Process(process.pid).children(recursive=True)
        found = [p for p in tree if p.name().startswith("ray::") and p not in other_than]
        found = [p for p in found if "MapWorker" in p.name() or "Map(" in p.name()]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {count} actors in {within_s} s")


ENDS_ITS_ACTOR = """
import os, sys
from pathlib import Path
from bionemo_ext.cli.bulk.on_ray import compute_on_ray
from bionemo_ext.cli.bulk.task import BulkTask
from bionemo_ext.cli.embedding import EmbeddingOptions
from bionemo_ext.cli.options import JobOptions, ServerOptions

class Server(ServerOptions):
    def connect(self):
        return None

class Task(BulkTask):
    def compute(self, client, index):
        with open(self.out.parent / f"begun{index}", "a") as begun:
            begun.write("x")
        if index == 1:
            os._exit(1)

folder = Path(sys.argv[1])
task = Task(folder / "x.fasta", folder / "x.parquet", 6, Server(), JobOptions(), EmbeddingOptions())
compute_on_ray(task, range(6), 2, "local")
"""


def test_a_shard_that_always_ends_its_actor_is_given_up(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ENDS_ITS_ACTOR, tmp_path],
        capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "bionemo-ext: shard 1: it ended its process 4 times; Ray's log" in done.stderr
    assert "RunError: 1 of 6 shards failed: 1; the others are kept" in done.stderr
    assert "Warning" not in done.stderr
    begun = {i: len((tmp_path / f"begun{i}").read_text()) for i in range(6)}
    assert begun == {0: 1, 1: 4, 2: 1, 3: 1, 4: 1, 5: 1}


def test_a_cluster_that_is_not_there_is_one_sentence(words, refusal):
    code, told = refusal("bulk", *words, "--ray-address", "127.0.0.1:9")
    assert code == 1
    assert told.startswith("no Ray cluster can be used at '127.0.0.1:9': ")
