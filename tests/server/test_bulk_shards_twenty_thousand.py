"""20,000 real proteins in four shards, two of which are killed on the way; ``-s`` shows figures."""

import random
import signal
import time
from itertools import islice

import pyarrow.parquet as pq
import pytest
from bulk_shards import finish, same_as_embed, start

from bionemo_ext.client.jobs.shards import ShardFolder
from bionemo_ext.sequences import read_fasta

pytestmark = [pytest.mark.server, pytest.mark.slow]

COUNT, SHARDS, KILLED = 20_000, 4, (1, 3)
# Of each protein, so that minutes are enough; lengths below it are the proteins' own.
RESIDUES = 60
PART = 2_048


@pytest.fixture(scope="module")
def proteins(shared_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("proteins") / "proteins.fasta"
    records = islice(read_fasta(shared_data / "uniprot" / "uniprot_20k.fasta.gz"), COUNT)
    path.write_text("".join(f">{r.name}\n{r.sequence[:RESIDUES]}\n" for r in records))
    return path


def test_killed_indices_go_on_and_everything_is_there_once(proteins, server, tmp_path):
    rng, out = random.Random(0), tmp_path / "x.parquet"
    folder = ShardFolder(out, SHARDS)
    words = (proteins, "--url", server.url, "--out", out, "--shards", SHARDS, "--json")
    began = time.monotonic()

    def say(*text):
        print(f"{time.monotonic() - began:6.1f} s:", *text)

    running = [start(*words, JOB_COMPLETION_INDEX=str(index)) for index in range(SHARDS)]
    waits = {index: rng.random() for index in KILLED}
    for index in KILLED:
        while not folder.kept(index):
            assert running[index].poll() is None, running[index].communicate()
            time.sleep(0.02)
        time.sleep(waits[index])
        running[index].kill()
        assert running[index].wait() == -signal.SIGKILL, "it had ended"
        running[index].communicate()
        say(f"shard {index} killed with {folder.kept(index):,} records kept")
    for index in KILLED:
        running[index] = start(*words, "--index", index)
    for index, process in enumerate(running):
        summary = finish(process, within_s=900)
        say(f"shard {index}: {summary}")
        assert (summary["resumed"] >= PART) == (index in KILLED)
    merged = finish(start(*words, "--merge"))
    say(f"merged: {merged}")
    assert (merged["records"], merged["computed"]) == (COUNT, 0)

    alone = tmp_path / "alone.parquet"
    embed = start(proteins, "--url", server.url, "--out", alone, "--json", command="embed")
    done = finish(embed, within_s=900)
    say(f"one process: {done}")
    names = [record.name for record in read_fasta(proteins)]
    assert len(set(names)) == COUNT
    same_as_embed(out, alone, names)
    groups = [pq.ParquetFile(path).num_row_groups for path in (out, alone)]
    say(f"row groups {groups}; {out.stat().st_size:,} and {alone.stat().st_size:,} bytes")
