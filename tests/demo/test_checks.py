"""The demo's checks pass what is right and nothing else."""

import json

import numpy as np
import pytest
import torch
from transformers import EsmModel

from bionemo_ext.demo.checks import (
    check_served,
    check_training,
    compare_served,
    read_training,
    unigram_perplexity,
)
from bionemo_ext.demo.runner import coupling
from bionemo_ext.errors import RunError
from bionemo_ext.resources import resource
from bionemo_ext.sequences import ESM2

UNIPROT = resource("demo/data") / "uniprot.fasta.gz"
FALLING = [3.5 - 0.01 * step for step in range(80)]


def compare(recorded):
    return compare_served(
        recorded.model, recorded.tasks, recorded.records, recorded.embeddings, recorded.answers
    )


def test_served_equals_offline(recorded):
    differences = compare(recorded)
    check_served(differences)
    residues = sum(len(record.sequence) for record in recorded.records)
    assert {d.what: (d.proteins, d.values) for d in differences} == {
        "mean embeddings": (3, 3 * 64),
        "residue embeddings": (3, residues * 64),
        "capsid predictions": (3, 6),
        "accessibility predictions": (3, residues * 2),
    }


@pytest.mark.parametrize("change", [2e-4, np.nan])
@pytest.mark.parametrize("what", ["embeddings", "residues"])
def test_one_changed_number_is_found(recorded, what, change):
    with np.load(recorded.embeddings) as file:
        arrays = dict(file)
    arrays[what][-1, -1] += change
    np.savez(recorded.embeddings, **arrays)
    with pytest.raises(RunError, match="differ from offline"):
        check_served(compare(recorded))


def test_one_changed_probability_is_found(recorded):
    path = recorded.answers["accessibility"]
    answer = json.loads(path.read_text())
    answer["predictions"][1]["probabilities"][7][0] += 2e-4
    path.write_text(json.dumps(answer))
    with pytest.raises(RunError, match="accessibility predictions"):
        check_served(compare(recorded))


def test_training_that_worked_passes(pretraining_run):
    training = read_training(pretraining_run(FALLING, [17.0, 15.2]), UNIPROT)
    check_training(training)
    assert training.steps == list(range(1, 81))
    assert training.perplexities == [17.0, 15.2]
    assert training.tokens == 8000


@pytest.mark.parametrize(
    ("losses", "perplexities", "sentence"),
    [
        (FALLING[::-1], [15.0], "did not fall"),
        ([float("nan")] * 80, [15.0], "did not fall"),
        (FALLING, [15.0, 16.0], "16.00, not below 16"),
        (FALLING, [float("nan")], "not below 16"),
        (FALLING, [], "missing"),
    ],
)
def test_training_that_failed_is_told(pretraining_run, losses, perplexities, sentence):
    with pytest.raises(RunError, match=sentence):
        check_training(read_training(pretraining_run(losses, perplexities), UNIPROT))


def test_a_run_without_figures_is_told(pretraining_run):
    with pytest.raises(RunError, match="no training step"):
        check_training(read_training(pretraining_run([], []), UNIPROT))


def test_unigram_perplexity(tmp_path):
    (tmp_path / "even.fasta").write_text(">a\nACDEFGHIKL\n>b\nMNPQRSTVWY\n")
    assert unigram_perplexity(tmp_path / "even.fasta") == pytest.approx(20)
    assert 17.5 < unigram_perplexity(UNIPROT) < 18.5


def test_coupling_is_the_corrected_mean_of_all_attention(tiny_hf_folder):
    sequence = "MKTVRQGLLAEWDSCYHNPFIK"
    model = EsmModel.from_pretrained(tiny_hf_folder, attn_implementation="eager").eval()
    tokens = torch.from_numpy(ESM2.encode(sequence))[None]
    with torch.no_grad():
        layers = model(tokens, output_attentions=True).attentions
    maps = torch.cat(layers, dim=1)[0, :, 1:-1, 1:-1].double()
    maps = maps + maps.mT
    sums = maps.sum(-1, keepdim=True)
    expected = (maps - sums * sums.mT / maps.sum((-1, -2), keepdim=True)).mean(0).numpy()
    found = coupling(tiny_hf_folder, sequence)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(expected).max() > 0.01
