"""``bulk`` refuses in one sentence, and with an encoder of its own needs no server."""

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.sequences import read_fasta

PROTEINS = "".join(f">p{i}\n{'MKTVRQGLAE' * (1 + i % 5)}\n" for i in range(30))


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "x.fasta"
    path.write_text(PROTEINS)
    return path


def test_a_process_may_have_an_encoder_of_its_own(fasta, tiny_hf_folder, command, tmp_path):
    out = tmp_path / "x.parquet"
    words = ("--offline", tiny_hf_folder, "--out", out, "--shards", 1)
    done = command("bulk", fasta, *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert summary.pop("seconds") > 0
    assert summary == {
        "out": [str(out)], "shards": 1, "computed": 1, "records": 30, "residues": 900,
        "skipped": 0, "truncated": 0, "windowed": 0,
    }  # fmt: skip
    table = pq.read_table(out)
    records = list(read_fasta(fasta))
    assert table["name"].to_pylist() == [record.name for record in records]
    expected = np.zeros((30, 64), dtype=np.float32)
    for indices, encoded in Encoder.load(tiny_hf_folder).embed([r.sequence for r in records], 4096):
        expected[indices] = encoded.mean().numpy()
    found = np.stack(table["embedding"].to_numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


WRONG = {
    "no parquet": (("--out", "x.npz"), "x.npz ends in none of .parquet"),
    "no folder": (("--out", "nowhere/x.parquet"), "there is no folder nowhere"),
    "index": (("--index", "4"), "there is no shard 4: of 4 the last is 3"),
    "both": (("--index", "1", "--merge"), "--index computes a shard and --merge puts all together"),
    "nobody to ask": (("--index", "1"), "a server (--url grpc://HOST:PORT) or a model folder"),
    "nothing to merge": (("--merge",), "4 of 4 shards are missing in x.parquet.shards: 0-3"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_sentence(what, fasta, refusal, tmp_path, monkeypatch):
    options, sentence = WRONG[what]
    monkeypatch.chdir(tmp_path)
    out = () if "--out" in options else ("--out", "x.parquet")
    code, told = refusal("bulk", fasta, "--shards", 4, *out, *options)
    assert code == (1 if what == "nothing to merge" else 2)
    assert sentence in told
    assert [path.name for path in tmp_path.iterdir()] == ["x.fasta"]


def test_what_is_no_file_is_refused(refusal, tmp_path):
    out = ("--out", tmp_path / "x.parquet", "--shards", 2)
    code, told = refusal("bulk", tmp_path / "none.fasta", *out)
    assert (code, told) == (2, f"there is no file {tmp_path / 'none.fasta'}")
    os.mkfifo(tmp_path / "pipe")
    code, told = refusal("bulk", tmp_path / "pipe", *out)
    assert code == 2
    assert "pipe is a stream; shards are parts of a file" in told


def test_an_index_comes_from_the_environment(fasta, refusal, tmp_path, monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "7")
    words = ("--out", tmp_path / "x.parquet", "--shards", 4)
    assert refusal("bulk", fasta, *words)[1] == "there is no shard 7: of 4 the last is 3"
