"""A cache gives the encoder's rows, outlives a kill at any byte, and is of one model alone."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import CheckpointError, RunError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import HeadKind, Pooling, TaskSpec
from bionemo_ext.recipes.finetune import features
from bionemo_ext.recipes.finetune.cache import CacheKey, EmbeddingCache
from bionemo_ext.recipes.finetune.features import Embeddings, fill, open_cache

KEY = CacheKey("ab" * 32, "float32", "residues", "float32", 4)


def proteins(count, seed=0):
    draw = np.random.default_rng(seed)
    return [
        "".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), n)) for n in draw.integers(5, 60, count)
    ]


def rows(sequence):
    draw = np.random.default_rng(list(sequence.encode()))
    return torch.from_numpy(draw.random((len(sequence), 4), dtype=np.float32))


def write(root, sequences, key=KEY):
    with EmbeddingCache(root, key) as cache, cache.writing() as writer:
        for sequence in cache.missing(sequences):
            writer.add(sequence, rows(sequence))


def spec_of(encoder, **changes):
    spec = TaskSpec(
        "x", Level.RESIDUE, Kind.CLASSIFICATION, ("a", "b"), HeadKind.LINEAR,
        encoder.hidden_size, 0, encoder_digest=encoder.digest,
    )  # fmt: skip
    return replace(spec, **changes)


@pytest.mark.parametrize("pooling", [None, "mean", "cls", "max", "attention"])
def test_it_gives_the_encoders_rows(tiny_hf_folder, tmp_path, pooling):
    encoder, sequences = Encoder.load(tiny_hf_folder), proteins(30)
    spec = spec_of(encoder)
    if pooling:
        spec = replace(spec, level=Level.SEQUENCE, pooling=Pooling(pooling))
    with open_cache(tmp_path, spec, "float32", "float32") as cache:
        fill(cache, lambda: encoder, sequences, 256)
        got = Embeddings(cache)
        for sequence in sequences:
            encoded = encoder.encode([sequence])
            if pooling in ("mean", "cls", "max"):
                expected = getattr(encoded, pooling)()[0]
            else:
                (expected,) = encoded.residues()
            torch.testing.assert_close(got(sequence), expected, rtol=0, atol=1e-5)


def test_the_encoder_is_not_loaded_where_nothing_is_missing(tiny_hf_folder, tmp_path):
    encoder, sequences = Encoder.load(tiny_hf_folder), proteins(5)
    with open_cache(tmp_path, spec_of(encoder), "float32", "float32") as cache:
        fill(cache, lambda: encoder, sequences, 256)

    def must_not():
        raise AssertionError

    with open_cache(tmp_path, spec_of(encoder), "float32", "float32") as cache:
        fill(cache, must_not, [*sequences, sequences[0]], 256)
        with pytest.raises(AssertionError):
            fill(cache, must_not, ["MKT"], 256)


def test_half_the_bytes_at_half_the_precision(tmp_path):
    key = replace(KEY, dtype="float16")
    write(tmp_path, ["MKT"], key)
    with EmbeddingCache(tmp_path, key) as cache:
        assert cache["MKT"].dtype == torch.float32
        torch.testing.assert_close(cache["MKT"], rows("MKT"), rtol=5e-4, atol=0)
        assert (cache.folder / "vectors").stat().st_size == cache.bytes_for(["MKT"]) == 24


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "cd" * 32}, {"arithmetic": "bfloat16"}, {"pooling": "mean"},
        {"dtype": "float16"}, {"hidden": 8},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_cache_of_another_model_is_another(tmp_path, change):
    write(tmp_path, ["MKT"])
    with EmbeddingCache(tmp_path, replace(KEY, **change)) as other:
        assert "MKT" not in other


@pytest.mark.parametrize("lost", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("file", ["vectors", "index"])
def test_a_torn_end_is_cut_off_and_written_again(tmp_path, file, lost):
    sequences = proteins(10)
    write(tmp_path, sequences)
    path = tmp_path / KEY.folder_name / file
    os.truncate(path, path.stat().st_size - lost)
    with EmbeddingCache(tmp_path, KEY) as cache:
        missing = cache.missing(sequences)
        assert missing == sequences[-len(missing) :]
        for sequence in sequences[: -len(missing)]:
            assert torch.equal(cache[sequence], rows(sequence))
    write(tmp_path, sequences)
    with EmbeddingCache(tmp_path, KEY) as cache:
        assert all(torch.equal(cache[sequence], rows(sequence)) for sequence in sequences)


def test_rows_without_their_entry_are_written_over(tmp_path):
    write(tmp_path, ["MKT"])
    with (tmp_path / KEY.folder_name / "vectors").open("ab") as file:
        file.write(b"\xff" * 50)
    write(tmp_path, ["MKT", "ACDE"])
    with EmbeddingCache(tmp_path, KEY) as cache:
        assert torch.equal(cache["ACDE"], rows("ACDE"))
        assert torch.equal(cache["MKT"], rows("MKT"))


def test_a_file_that_shrinks_under_its_reader_is_told(tmp_path):
    write(tmp_path, ["MKTVRQG"])
    with EmbeddingCache(tmp_path, KEY) as cache:
        os.truncate(cache.folder / "vectors", 20)
        with pytest.raises(CheckpointError, match="has lost its end; delete the folder"):
            cache["MKTVRQG"]


def test_a_full_disk_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    usage = features.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: usage._replace(free=100))
    with (
        EmbeddingCache(tmp_path, KEY) as cache,
        pytest.raises(RunError, match=r"need 0\.0 GB in .* cache\.dtype=float16 halves them"),
    ):
        fill(cache, lambda: None, ["MKTVRQG"], 100)


WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
import test_embedding_cache as t
from bionemo_ext.recipes.finetune.cache import CacheWriter, EmbeddingCache
CacheWriter._PORTION_BYTES = 500
with EmbeddingCache(t.Path({root!r}), t.KEY) as cache, cache.writing() as writer:
    for sequence in t.proteins(int(sys.argv[2]), seed=int(sys.argv[1])):
        writer.add(sequence, t.rows(sequence))
        time.sleep(0.001)
"""


def start(tmp_path, seed, count):
    program = WRITER.format(tests=str(Path(__file__).parent), root=str(tmp_path))
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", program, str(seed), str(count)])


def index_size(tmp_path):
    path = tmp_path / KEY.folder_name / "index"
    return path.stat().st_size if path.exists() else 0


def test_a_killed_writer_leaves_whole_rows_and_its_place_to_the_next(tmp_path):
    process = start(tmp_path, 7, 2000)
    deadline = time.monotonic() + 60
    while index_size(tmp_path) < 5000 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    sequences = proteins(2000, seed=7)
    with EmbeddingCache(tmp_path, KEY) as cache:
        missing = cache.missing(sequences)
        assert 0 < len(missing) < len(sequences)
        for sequence in sequences[: -len(missing)]:
            assert torch.equal(cache[sequence], rows(sequence))
    write(tmp_path, sequences)
    with EmbeddingCache(tmp_path, KEY) as cache:
        assert all(torch.equal(cache[s], rows(s)) for s in sequences)


def test_two_writers_take_turns(tmp_path):
    writers = [start(tmp_path, seed, 300) for seed in (1, 2)]
    assert [process.wait(120) for process in writers] == [0, 0]
    with EmbeddingCache(tmp_path, KEY) as cache:
        for sequence in proteins(300, seed=1) + proteins(300, seed=2):
            assert torch.equal(cache[sequence], rows(sequence))
