"""What tests of every folder share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared_data():
    """The real data beside the repository, which is read in place and never copied."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside the repository")
    return folder


@pytest.fixture(scope="session")
def tiny_hf_folder(tmp_path_factory):
    """A random ESM-2 as transformers saves it, its biases and norms such that errors show."""
    from transformers import EsmConfig, EsmForMaskedLM

    torch.manual_seed(0)
    model = EsmForMaskedLM(
        EsmConfig(
            vocab_size=33, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=256, position_embedding_type="rotary", token_dropout=True,
            mask_token_id=32, pad_token_id=1, layer_norm_eps=1e-5,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            if "contact_head" in name:
                parameter.copy_(5 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("tiny") / "model"
    model.save_pretrained(folder)
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
