"""What tests of every folder share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# A busy machine is not a wrong answer.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# Shells have what runs in the background ignore Ctrl-C, and what that starts too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


def save_random_esmfold(folder, fp16_esm=False):
    """Save a small random ESMFold as transformers does, its confidences far from even."""
    from transformers import EsmConfig, EsmForProteinFolding
    from transformers.models.esm.configuration_esm import get_default_vocab_list

    torch.manual_seed(0)
    structure = {
        "sequence_dim": 32, "pairwise_dim": 16, "ipa_dim": 8, "resnet_dim": 16, "num_heads_ipa": 4,
        "num_qk_points": 2, "num_v_points": 3, "num_blocks": 2,
    }  # fmt: skip
    trunk = {
        "num_blocks": 2, "sequence_state_dim": 32, "pairwise_state_dim": 16, "position_bins": 8,
        "sequence_head_width": 8, "pairwise_head_width": 8, "max_recycles": 2,
        "structure_module": structure,
    }  # fmt: skip
    config = EsmConfig(
        vocab_size=33, vocab_list=get_default_vocab_list(), hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=64, position_embedding_type="rotary",
        token_dropout=True, mask_token_id=32, pad_token_id=1, layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, is_folding_model=True,
        esmfold_config={"fp16_esm": fp16_esm, "lddt_head_hid_dim": 16, "trunk": trunk},
    )  # fmt: skip
    model = EsmForProteinFolding(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "lddt_head" in name:
                parameter.mul_(2.2)
            elif "ptm_head" in name:
                parameter.mul_(3)
            else:
                parameter.mul_(2)
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def random_esmfold():
    """``save_random_esmfold(folder, fp16_esm=False)``."""
    return save_random_esmfold


@pytest.fixture(scope="session")
def tiny_fold_folder(tmp_path_factory):
    """A random ESMFold of two blocks as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("tiny_fold") / "model"
    save_random_esmfold(folder)
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
