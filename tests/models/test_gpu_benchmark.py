"""The GPU benchmark's own code, run on the CPU with a tiny model and plain layers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import ESM2Config, read_model

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-W", "ignore", "-m", "benchmarks.gpu")


def benchmark(folder, *words):
    done = subprocess.run(
        [*COMMAND, *words, "--dry-run", "--out", folder, "--mirror", folder.with_name("mirror")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def lines(folder, status="done"):
    rows = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    return {row["case"]: row for row in rows if row["status"] == status}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu") / "out"
    out = benchmark(folder, "all", "--minutes", "4", "--pretrain-steps", "4", "--profile")
    return folder, out


def test_every_part_gives_figures_and_nothing_fails(measured):
    folder, out = measured
    done = lines(folder)
    parts = [case.partition("/")[0] for case in done]
    assert list(dict.fromkeys(parts)) == ["parity", "train", "inference", "fp8_steps", "pretrain"]
    assert not lines(folder, "failed")
    for part in set(parts):
        assert f"## {part}" in out
    assert "aten::mm" in (folder / "details.txt").read_text()


def test_parity_tells_bf16_from_fp32(measured):
    errors = {case: row["logits_relative_error"] for case, row in lines(measured[0]).items()
              if case.startswith("parity/")}  # fmt: skip
    assert errors["parity/tiny/transformers_fp32"] < 1e-5
    assert errors["parity/tiny/local_fp32_packed"] < 1e-5
    for layout in ("padded", "packed"):
        assert 1e-3 < errors[f"parity/tiny/local_bf16_{layout}"] < 3e-2


def test_all_ways_of_inference_do_the_same_work(measured):
    norms = [row["norm_of_4"] for case, row in lines(measured[0]).items() if "inference/" in case]
    assert len(norms) == 4
    assert norms == pytest.approx([norms[0]] * 4, rel=1e-2)


def test_training_counts_real_tokens(measured):
    padded, packed = (lines(measured[0])[f"train/tiny/bf16_{x}"] for x in ("padded", "packed"))
    assert 0 < packed["padding_share"] < padded["padding_share"] < 1
    assert packed["slowest"] <= packed["tokens_per_s"] <= packed["fastest"]
    assert packed["last_loss"] < packed["first_loss"]


def test_a_second_call_skips_what_is_done_and_goes_on_pretraining(measured):
    folder, _ = measured
    before = (folder / "results.jsonl").read_text()
    benchmark(folder, "parity", "pretrain", "--minutes", "2", "--pretrain-steps", "3")
    added = (folder / "results.jsonl").read_text().removeprefix(before)
    assert {json.loads(row)["case"] for row in added.splitlines()} == {"machine", "pretrain/tiny"}
    assert lines(folder)["pretrain/tiny"]["step"] == 4 + 3
    mirror = folder.with_name("mirror")
    assert (mirror / "results.jsonl").read_text() == (folder / "results.jsonl").read_text()
    config, state = read_model(mirror / "tiny")
    assert config == ESM2Config(layers=2, hidden=64, heads=4, rotary_dtype=config.rotary_dtype)
    assert state["lm_head.bias"].dtype == torch.bfloat16
    # At most 8 files come back from the GPU machine.
    assert sum(path.is_file() for path in mirror.rglob("*")) <= 8


def test_cases_that_were_cut_off_and_that_failed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.gpu.results import BEGUN, CUT, DONE, FAILED, Results

    results = Results(tmp_path / "a", tmp_path / "b")
    results.write("train/x", BEGUN)
    assert results.open_case()[0] == "train/x"
    results.write("train/x", CUT)
    assert results.open_case() is None
    assert results.ended() == set()
    results.write("train/x", CUT)
    results.write("train/y", FAILED, reason="out of memory")
    results.write("train/z", DONE, tokens_per_s=12_345.6, losses=[1.0])
    assert results.ended() == {"train/x", "train/y", "train/z"}
    assert results.ended(failed_since=time.time() + 1) == {"train/x", "train/z"}
    with (tmp_path / "a" / "results.jsonl").open("a") as file:
        file.write('{"case": "train/')  # killed in the middle of a line
    assert len(list(results.lines())) == 5
    table = (tmp_path / "b" / "tables.md").read_text()
    assert "| z |  | 12,346 |" in table
    assert "out of memory" in table


def test_padded_and_packed_batches_are_counted_alike(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.gpu.batches import on_device, stream
    from benchmarks.gpu.options import shipped_proteins
    from bionemo_ext.data.batches import collate, pack

    samples = stream(shipped_proteins(), 1024).__getitems__(range(5))
    lengths = [len(sample.inputs) for sample in samples]
    padded = on_device(collate(samples, 1, 1024), torch.device("cpu"))
    packed = on_device(pack(samples, 1, 128), torch.device("cpu"))
    for batch in (padded, packed):
        assert batch.tokens == sum(lengths)
        assert batch.squared_lengths == sum(n * n for n in lengths)
    assert padded.places == 5 * 1024
    assert packed.places == packed.packing.total == -(-sum(lengths) // 128) * 128


def test_a_worker_that_cannot_begin_is_not_begun_for_ever(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    words = ["train", "--dry-run", "--out", str(tmp_path / "out"), "--minutes", "0.5"]
    began = time.monotonic()
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert time.monotonic() - began < 20
    assert done.returncode == 1
    assert "no torch here" in done.stderr


def test_a_worker_that_dies_loses_one_case(tmp_path):
    words = ["fp8_steps", "inference", "--dry-run", "--out", str(tmp_path), "--minutes", "2"]
    with subprocess.Popen(
        [*COMMAND, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as running:
        path = tmp_path / "results.jsonl"
        while not (path.is_file() and '"begun"' in path.read_text()):
            time.sleep(0.01)
        psutil.Process(running.pid).children()[0].kill()
        running.wait(60)
    failed = lines(tmp_path, "failed")
    assert {row["reason"] for row in failed.values()} == {"the process ended with code -9"}
    assert len(failed) == 1
    assert set(lines(tmp_path)) | set(failed) == {
        "fp8_steps/tiny/fp32", "inference/tiny/encoder_packed", "inference/tiny/megatron_packed",
        "inference/tiny/plain_layers_padded", "inference/tiny/transformers_sdpa_padded",
    }  # fmt: skip


def test_delayed_scaling_keeps_no_layer_in_bf16():
    from bionemo_ext.models.config import megatron_config

    with pytest.raises(ConfigError, match="cannot keep some in bf16"):
        megatron_config(ESM2Config(6, 320, 20), fp8="delayed", bf16_ends=(0, 1))
    assert megatron_config(ESM2Config(6, 320, 20), fp8="blockwise", bf16_ends=(0, 1)).fp8
