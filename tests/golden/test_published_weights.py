"""The published ESM-2 8M weights give the values that transformers' own tests hold them to.

``BIONEMO_EXT_ESM2_8M`` names a local Hugging Face folder of facebook/esm2_t6_8M_UR50D.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo_ext.inference.encoder import Encoder


@pytest.fixture(scope="module")
def golden(shared_data):
    return json.loads((shared_data / "golden" / "esm2_8M_hf_test_slices.json").read_text())


@pytest.fixture(scope="module")
def encoder():
    folder = os.environ.get("BIONEMO_EXT_ESM2_8M")
    if not folder:
        pytest.skip("the published weights are not here; BIONEMO_EXT_ESM2_8M names their folder")
    return Encoder.load(Path(folder))


def test_logits(encoder, golden):
    (ids,) = golden["masked_lm"]["input_ids"]
    encoded = encoder.encode_tokens(torch.tensor(ids), [0, len(ids)])
    found = encoder.logits(encoded).numpy()
    assert [1, *found.shape] == golden["masked_lm"]["logits_shape"]
    (expected,) = golden["masked_lm"]["logits[:, :3, :3]"]
    np.testing.assert_allclose(found[:3, :3], expected, rtol=0, atol=golden["atol"])


def test_hidden_states(encoder, golden):
    (ids,) = golden["no_head"]["input_ids"]
    found = encoder.encode_tokens(torch.tensor(ids), [0, len(ids)]).hidden.numpy()
    (expected,) = golden["no_head"]["last_hidden_state[:, :3, :3]"]
    np.testing.assert_allclose(found[:3, :3], expected, rtol=0, atol=golden["atol"])
