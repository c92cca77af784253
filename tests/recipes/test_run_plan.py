"""Plan needs no GPU and no data, changes with the layout as it must, and says what would fit."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo_ext.errors import ConfigError
from bionemo_ext.recipes.footprint import lengths
from bionemo_ext.recipes.plan import composed, plan

# The data does not matter here.
DATA = "data=fasta"


def planned(*words, gpus=None, **options):
    return plan(composed([DATA, *words], gpus), **options)


def test_the_recipe_is_that_of_the_model():
    assert composed([DATA, "model=esm2_3b"]) == composed([DATA, "recipe=esm2_3b"])
    other = composed([DATA, "model=esm2_3b", "recipe=esm2_8m"])
    assert (other.model.name, other.parallel.nodes) == ("esm2_3b", 1)


def test_memory_by_layout():
    one = planned("model=esm2_650m", gpus=8).memory
    four = planned("model=esm2_650m", gpus=32).memory
    assert four.optimizer == one.optimizer / 4
    assert (four.weights, four.gradients, four.activations) == (
        one.weights,
        one.gradients,
        one.activations,
    )
    whole = planned("model=esm2_650m", "parallel.distributed_optimizer=false", gpus=8).memory
    assert whole.optimizer == 8 * one.optimizer
    halves = planned("model=esm2_650m", "parallel.tensor=2", gpus=8).memory
    assert 0.5 * one.weights < halves.weights < 0.51 * one.weights
    assert 0.5 * one.activations < halves.activations < 0.7 * one.activations
    shared = planned("model=esm2_650m", "parallel=node_tp2", gpus=8).memory
    assert shared.activations < 0.51 * one.activations
    again = planned("model=esm2_650m", "recompute=full", gpus=8).memory
    assert again.activations < 0.1 * one.activations
    fp8 = planned("model=esm2_650m", "precision=fp8_blockwise", gpus=8).memory
    assert fp8.activations < 0.9 * one.activations
    assert fp8.weights > one.weights


def test_pipeline_stages_keep_as_many_micro_batches_as_are_under_way():
    words = ["model=esm2_3b", "recompute=none", "micro_batch=8"]
    one = planned(*words, gpus=8).memory
    four = planned(*words, "parallel.pipeline=4", gpus=8).memory
    # A quarter of the layers, of four micro-batches.
    assert four.activations == pytest.approx(one.activations, rel=0.01)
    assert four.weights < 0.3 * one.weights


def test_days():
    base = planned("model=esm2_650m")
    tokens_per_s = base.tokens_per_step * base.steps / (base.days * 86_400 * base.gpus)
    # BioNeMo 2 tells 95,871 at this MFU, of sequences of 1,024: ours are shorter, so cheaper.
    assert 95_871 < tokens_per_s < 1.15 * 95_871
    assert planned("model=esm2_650m", gpus=64).days == pytest.approx(base.days / 2)
    assert planned("model=esm2_650m", mfu=0.215).days == pytest.approx(2 * base.days)
    assert planned("model=esm2_650m", gpu="a100").days == pytest.approx(base.days * 989.4 / 312)
    assert planned("model=esm2_650m", "recompute=full").days == pytest.approx(
        base.days * 4 / 3, rel=0.01
    )
    assert planned("model=esm2_650m", "packing=false").days > 2.3 * base.days
    assert planned("model=esm2_650m", "precision=fp32").days is None


def test_a_suggestion_fits():
    words = ["model=esm2_3b", "micro_batch=64"]
    found = planned(*words, gpus=8)
    assert not found.fits
    assert found.suggestion == ["micro_batch=16"]
    assert planned(*words, *found.suggestion, gpus=8).fits
    assert not planned(*words, "micro_batch=32", gpus=8).fits


def test_a_model_too_large_for_one_gpu_is_cut():
    words = ["model=esm2_15b", "parallel=node", "micro_batch=2", "global_batch=2048"]
    found = planned(*words, gpus=64)
    assert not found.fits
    assert "parallel.tensor=2" in found.suggestion
    assert planned(*words, *found.suggestion, gpus=64).fits


def test_nothing_helps_on_one_gpu():
    found = planned("model=esm2_15b", "parallel=single", gpus=1)
    assert (found.fits, found.suggestion) == (False, None)


@settings(max_examples=20)
@given(limit=st.integers(10, 1022))
def test_lengths_have_the_moments_of_something(limit):
    run = composed([DATA, "model=esm2_8m", f"data.max_residues={limit}"])
    found = lengths(run)
    assert 2 < found.mean <= found.largest == limit + 2
    assert found.mean**2 <= found.mean_square <= found.mean * found.largest


def test_lengths_are_those_of_proteins(shared_data):
    import dnaio
    import numpy as np

    with dnaio.open(shared_data / "uniprot" / "uniprot_20k.fasta.gz") as reader:
        residues = np.array([len(record) for record in reader])
    cut = np.minimum(residues, 1022) + 2.0
    found = lengths(composed([DATA, "model=esm2_8m"]))
    assert found.mean == pytest.approx(cut.mean(), rel=0.03)
    assert found.mean_square == pytest.approx((cut**2).mean(), rel=0.03)
    filtered = residues[residues <= 512] + 2.0
    found = lengths(composed([DATA, "model=esm1nv_44m", "data.max_residues=512"]))
    assert found.mean == pytest.approx(filtered.mean(), rel=0.07)


@pytest.mark.parametrize(
    ("words", "gpus", "said"),
    [
        (["model=esm2_8m"], 12, "a multiple of parallel.devices, 8, is needed"),
        (["model=esm2_8m", "parallel.tensor=3"], None, "does not divide the number of devices"),
        (["model=esm2_8m", "micro_batch=100"], None, "global_batch 2048 is not a multiple"),
        (["model=esm2_8m", "nothing=1"], None, "there is no key nothing"),
        (["model=esm2_demo"], None, "recipe"),
    ],
)
def test_what_does_not_go_together(words, gpus, said):
    with pytest.raises(ConfigError, match=said):
        composed([DATA, *words], gpus)


def test_the_command(command, refusal):
    done = command("plan", "model=esm2_3b", DATA)
    assert done.returncode == 0, done.stderr
    assert "2,839,005,634" in done.stdout
    assert "It fits." in done.stdout
    found = json.loads(command("plan", "model=esm2_3b", DATA, "--gpus", "8", "--json").stdout)
    kinds = {"weights", "gradients", "optimizer", "activations", "logits", "working", "framework"}
    assert found["memory"].keys() == {*kinds, "total"}
    assert found["memory"]["total"] == sum(found["memory"][kind] for kind in kinds)
    assert found["fits"] is True
    assert found["gpus"] == 8
    code, sentence = refusal("plan", "model=esm2_8m", DATA, "--days-for", "abacus")
    assert code == 2
    assert "'abacus' is not known" in sentence
