"""Formulas of memory and parameters beside real models, optimizers and training steps."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from bionemo_ext.huggingface import ESM1nvConfig, ESM2Config
from bionemo_ext.models import memory
from bionemo_ext.models.costs import contact_parameters, parameters, trained_parameters

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "plan_memory.py"
SHAPES = {
    "esm2_8m": ESM2Config(6, 320, 20),
    "esm2_35m": ESM2Config(12, 480, 20),
    "esm2_150m": ESM2Config(30, 640, 20),
    "esm2_650m": ESM2Config(33, 1280, 20),
    "esm2_3b": ESM2Config(36, 2560, 40),
    "esm2_15b": ESM2Config(48, 5120, 40),
    "esm1nv_44m": ESM1nvConfig(),
}
# Counts of rank 0 and the last rank of layouts (tensor, pipeline), by Megatron, on a meta device.
LAYOUTS = [(1, 1), (2, 1), (4, 2)]
COUNT = """
import json, sys
from collections.abc import Callable
import torch
from megatron.core import parallel_state, tensor_parallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from bionemo_ext.models.config import megatron_config
from bionemo_ext.models.esm1nv import ESM1nvModel
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.recipes import cpu
sys.path.insert(0, sys.argv[1])
from test_memory import LAYOUTS, SHAPES

cpu.enable()
counts = {}
for tensor, pipeline in LAYOUTS:
    for stage in {0, pipeline - 1}:
        torch.distributed.init_process_group(
            "fake", store=FakeStore(), rank=stage * tensor, world_size=tensor * pipeline)
        parallel_state.initialize_model_parallel(
            tensor, pipeline, create_gloo_process_groups=False)
        tensor_parallel.model_parallel_cuda_manual_seed(1)
        for name, config in SHAPES.items():
            if config.heads % tensor or config.layers % pipeline:
                continue
            kind = ESM2Model if config.family == "esm2" else ESM1nvModel
            told = megatron_config(config, tensor_parallel=tensor, pipeline_parallel=pipeline)
            with torch.device("meta"):
                model = kind(config, told, pre_process=stage == 0,
                             post_process=stage == pipeline - 1)
            assert all(p.is_meta for p in model.parameters())
            key = f"{name} {tensor} {pipeline} {stage}"
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
            counts[key] = trained, frozen
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()
print(json.dumps(counts))
"""


def run(*words):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def counts():
    return run("-c", COUNT, Path(__file__).parent)


@pytest.mark.parametrize(
    ("name", "tensor", "pipeline"),
    [
        (name, *layout)
        for name, layout in product(SHAPES, LAYOUTS)
        if SHAPES[name].layers % layout[1] == 0
    ],
)
def test_parameters_of_every_rank(counts, name, tensor, pipeline):
    config = SHAPES[name]
    for stage in {0, pipeline - 1}:
        trained, frozen = counts[f"{name} {tensor} {pipeline} {stage}"]
        expected = trained_parameters(config, tensor=tensor, pipeline=pipeline, stage=stage)
        assert trained == expected
        assert frozen == (contact_parameters(config) if stage == pipeline - 1 else 0)


@pytest.mark.parametrize("name", [name for name in SHAPES if name.startswith("esm2")])
def test_parameters_as_published(name):
    # transformers builds the published folders' models; ours is counted without their padding.
    import torch
    from transformers import EsmConfig, EsmForMaskedLM

    config = SHAPES[name]
    with torch.device("meta"):
        theirs = EsmForMaskedLM(EsmConfig(**config.huggingface()))
    assert parameters(config) == sum(p.numel() for p in theirs.parameters())


@pytest.fixture(scope="module", params=[(), ("--tensor", "2", "--sequence")], ids=["one", "TP 2"])
def rows(request):
    return run(BENCHMARK, "--model", "esm2_8m", "--dtype", "bf16", "--json", *request.param)


def test_memory_and_flops_are_those_of_a_training_step(rows):
    assert len(rows) in (6, 18)
    for row in rows:
        error = 0.0 if row["kind"].startswith("FLOPs") else 0.01
        assert row["planned"] == pytest.approx(row["real"], rel=error), row["kind"]


def test_fp8_and_dropout_change_what_they_should():
    config, layout = SHAPES["esm2_8m"], memory.Layout()
    batch = memory.MicroBatch(1000, 1000, packed=True)

    def layer(numbers, config=config):
        return memory.layer_activations(config, layout, numbers, batch, engine=True)

    bf16, fp8 = layer(memory.Numbers()), layer(memory.Numbers(fp8=True))
    # The inputs of four maps, H + H + H + F wide, take a byte less; attention keeps its own output.
    assert bf16 - fp8 == 1000 * (7 * 320 - 2 * 320)
    plain, dropped = (ESM1nvConfig(dropout=share) for share in (0.0, 0.1))
    assert layer(memory.Numbers(), dropped) - layer(memory.Numbers(), plain) == 2 * 1000 * 768
    ends = memory.Numbers(fp8=True, bf16_first=2, bf16_last=3)
    assert ends.fp8_layers(config, layout, 0) == 1
    halves = memory.Layout(pipeline=2)
    assert [ends.fp8_layers(config, halves, stage) for stage in (0, 1)] == [1, 0]
