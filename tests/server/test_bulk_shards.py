"""``bulk`` through the real server: shards at once, killed, failing, and one file at the end."""

import os
import random
import re
import signal
import time

import psutil
import pyarrow.parquet as pq
import pytest
from bulk_run import random_proteins
from bulk_shards import finish, same_as_embed, start, worker_of

pytestmark = pytest.mark.server

COUNT = 400
NAMES = [f"p{i}" for i in range(COUNT)]


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    return random_proteins(tmp_path_factory.mktemp("shards") / "proteins.fasta", COUNT)


@pytest.fixture(scope="module")
def alone(proteins, command, server, tmp_path_factory):
    """What one process makes of all."""
    out = tmp_path_factory.mktemp("alone") / "x.parquet"
    done = command("embed", proteins, "--url", server.url, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def shards_of(out):
    return sorted(path.name for path in out.with_name(f"{out.name}.shards").glob("*.parquet"))


def test_two_processes_make_what_one_makes(proteins, alone, command, server, tmp_path):
    out = tmp_path / "x.parquet"
    words = (proteins, "--url", server.url, "--out", out, "--shards", 4, "--processes", 2)
    done = command("bulk", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        rf"wrote {out}: 400 records, [\d,]+ residues from 4 shards in [\d.]+ s\n", done.stdout
    )
    same_as_embed(out, alone, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_killed_indices_are_started_again(proteins, alone, server, tmp_path):
    """As an Indexed Job does it: four indices at once, two of them killed, then the merge."""
    rng, out = random.Random(7), tmp_path / "x.parquet"
    words = (proteins, "--url", server.url, "--out", out, "--shards", 4, "--json")
    running = [start(*words, JOB_COMPLETION_INDEX=str(index)) for index in range(4)]
    for index in (1, 2):
        time.sleep(0.2 + rng.random())
        running[index].kill()
        running[index].communicate()
    for index in (0, 3):
        finish(running[index])
    early = start(*words, "--merge")
    printed, said = early.communicate(timeout=60)
    missing = [i for i in range(4) if f"0000{i}-of-00004.parquet" not in shards_of(out)]
    if missing:
        assert (early.returncode, printed) == (1, "")
        assert f"shards are missing in {out}.shards: " in said
        for index in missing:
            finish(start(*words, "--index", index))
        assert finish(start(*words, "--merge"))["computed"] == 0
    same_as_embed(out, alone, NAMES)


def test_a_shard_that_is_there_is_not_computed_again(proteins, command, refusal, server, tmp_path):
    out = tmp_path / "x.parquet"
    words = ("bulk", proteins, "--url", server.url, "--out", out, "--shards", 2)
    first = command(*words, "--index", 0)
    assert first.returncode == 0, first.stderr
    before = (tmp_path / "x.parquet.shards" / "00000-of-00002.parquet").stat().st_mtime_ns
    again = command(*words, "--index", 0)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.endswith("00000-of-00002.parquet is there\n")
    for more in (("--index", 1), ()):
        code, told = refusal(*words, "--pooling", "max", *more)
        assert code == 2
        assert f"{out}.shards has the shards of another job (outputs mean, now max)" in told
    changed = tmp_path / "changed.fasta"
    changed.write_text(proteins.read_text() + ">more\nMK\n")
    code, told = refusal(words[0], changed, *words[2:])
    assert code == 2
    assert re.search(r"another job \(size of the FASTA [\d,]+ bytes, now [\d,]+ bytes\)", told)
    done = command(*words, "--keep-shards")
    assert "400 records" in done.stdout
    assert "(1 of them were there)" in done.stdout
    assert (tmp_path / "x.parquet.shards" / "00000-of-00002.parquet").stat().st_mtime_ns == before
    assert shards_of(out) == ["00000-of-00002.parquet", "00001-of-00002.parquet"]
    done = command(*words, "--pooling", "max", "--restart")
    assert done.returncode == 0, done.stderr
    assert "were there" not in done.stdout
    assert pq.read_table(out).schema.metadata[b"pooling"] == b"max"
    assert not shards_of(out)


def test_one_failure_does_not_stop_the_others(alone, command, proteins, server, tmp_path):
    fasta, out = tmp_path / "bad.fasta", tmp_path / "x.parquet"
    # Found by its shard alone: longer than the model takes.
    fasta.write_text(proteins.read_text().replace(">p200\n", f">long\n{'MKTVRQG' * 150}\n>p200\n"))
    words = ("bulk", fasta, "--url", server.url, "--out", out, "--shards", 4, "--long", "refuse")
    done = command(*words, "--processes", 2)
    assert (done.returncode, done.stdout) == (2, "")
    told, end = done.stderr.splitlines()
    failed = re.fullmatch(r"bionemo-ext: shard (\d): record 'long' has 1,050 residues, .*", told)
    assert failed, told
    assert f"1 of 4 shards failed: {failed[1]}; the others are kept" in end
    assert len(shards_of(out)) == 3
    done = command(*words, "--skip-bad")
    assert done.returncode == 0, done.stderr
    assert "1 were left out" in done.stderr
    assert (tmp_path / "x.skipped.tsv").read_text().startswith("name\treason\nlong\t")
    assert pq.read_table(out)["name"].to_pylist() == NAMES


def test_a_bad_record_is_found_before_work_is_done(proteins, refusal, server, tmp_path):
    fasta, out = tmp_path / "bad.fasta", tmp_path / "x.parquet"
    fasta.write_text(proteins.read_text() + ">last\nMKT5\n")
    words = ("--url", server.url, "--out", out, "--shards", 4)
    code, told = refusal("bulk", fasta, *words)
    assert code == 2
    assert "record 'last' has '5' at position 4" in told
    assert [path.name for path in tmp_path.iterdir()] == ["bad.fasta"]


def test_a_worker_that_is_killed_is_told(proteins, server, tmp_path):
    out = tmp_path / "x.parquet"
    words = ("--url", server.url, "--out", out, "--shards", 2, "--processes", 2)
    with start(proteins, *words) as process:
        worker_of(process, 1).kill()
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (1, "")
    told, end = said.splitlines()
    assert told == "bionemo-ext: shard 1: its process was ended by SIGKILL"
    assert "1 of 2 shards failed: 1; the others are kept" in end
    assert shards_of(out) == ["00000-of-00002.parquet"]


@pytest.fixture
def waiting(proteins, server, tmp_path):
    """A command whose workers wait without an end, for a token that nobody writes."""
    os.mkfifo(tmp_path / "token")
    words = (proteins, "--url", server.url, "--token-file", tmp_path / "token")
    return (*words, "--out", tmp_path / "x.parquet", "--shards", 3, "--processes", 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_and_says_how_to_go_on(number, waiting, tmp_path):
    with start(*waiting) as process:
        workers = [worker_of(process, index) for index in (0, 1)]
        process.send_signal(number)
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (128 + number, "")
    assert re.fullmatch(
        r"bionemo-ext: interrupted; 0 of 3 shards are whole, what the others have is kept, and "
        r"the same command goes on from there\n",
        said,
    ), said
    assert not any(worker.is_running() for worker in workers)
    assert not (tmp_path / "x.parquet").exists()


def test_workers_end_with_the_one_that_started_them(waiting):
    with start(*waiting) as process:
        workers = [worker_of(process, index) for index in (0, 1)]
        process.kill()
    psutil.wait_procs(workers, timeout=60)
    assert not any(worker.is_running() for worker in workers)


def test_workers_share_processors_and_take_gpus_in_turn(proteins, tmp_path):
    words = ("--offline", tmp_path, "--device", "cuda", "--out", tmp_path / "x.parquet")
    variables = {"CUDA_VISIBLE_DEVICES": "4,7", "OMP_NUM_THREADS": None}
    with start(proteins, *words, "--shards", 2, "--processes", 2, **variables) as process:
        found = [worker_of(process, index).environ() for index in (0, 1)]
        process.kill()
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["4", "7"]
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert [one["OMP_NUM_THREADS"] for one in found] == [str(share)] * 2
