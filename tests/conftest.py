"""What tests of every folder share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# A busy machine is not a wrong answer.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def shared_data():
    """The real data beside the repository, which is read in place and never copied."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside the repository")
    return folder


def save_random_esm2(folder, layers, hidden, heads):
    """Save a random ESM-2 as transformers does, its weights such that every error shows."""
    from transformers import EsmConfig, EsmForMaskedLM

    torch.manual_seed(0)
    config = EsmConfig(
        vocab_size=33, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, position_embedding_type="rotary", token_dropout=True,
        mask_token_id=32, pad_token_id=1, layer_norm_eps=1e-5, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, attn_implementation="eager",
    )  # fmt: skip
    model = EsmForMaskedLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            if "contact_head" in name:
                parameter.copy_(20 * torch.randn_like(parameter))
            if "word_embeddings" in name:
                parameter.mul_(10)  # the residue is seen through the biases
            if "query.weight" in name or "key.weight" in name:
                parameter.mul_(4)  # attention far from uniform, so that contacts differ
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="session")
def random_esm2():
    """``save_random_esm2(folder, layers, hidden, heads)``; gives transformers' model."""
    return save_random_esm2


@pytest.fixture(scope="session")
def tiny_hf_folder(tmp_path_factory):
    """A random ESM-2 of two layers as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_random_esm2(folder, layers=2, hidden=64, heads=4)
    return folder


@pytest.fixture(scope="session")
def command():
    """Run ``bionemo-ext`` as a user does and give what it printed and its exit code."""

    def run(*words, stdin=None):
        return subprocess.run(
            [sys.executable, "-m", "bionemo_ext", *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run


@pytest.fixture(scope="session")
def refusal(command):
    """Run a command that must end with one sentence and no traceback; give code and sentence."""

    def run(*words, stdin=None):
        done = command(*words, stdin=stdin)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("bionemo-ext: ")
        return done.returncode, lines[0].removeprefix("bionemo-ext: ")

    return run
