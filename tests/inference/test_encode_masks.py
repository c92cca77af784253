"""Masks alone through the last layer: the same hidden states, for less work."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bionemo_ext.huggingface import ESM1nvConfig, write_folder
from bionemo_ext.huggingface.shapes import constants, shapes
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.packing import Encoded
from bionemo_ext.sequences.masked import encode_masked

MASKED = ["#KTVRQG", "MKTVRQGACDEFGHIKLMNPQRSTVW#", "MK##RQGACDE#", "MKTVRQG", "#"]


def packed(encoder, sequences):
    rows = [encode_masked(sequence, encoder.alphabet) for sequence in sequences]
    return torch.from_numpy(np.concatenate(rows)), np.cumsum([0, *map(len, rows)]).tolist()


def at_masks(encoder, tokens, offsets):
    """As it was before: all tokens through all layers."""
    return encoder.encode_tokens(tokens, offsets).at(tokens == encoder.alphabet.mask_id)


@pytest.fixture(scope="module", params=["ESM-2", "ESM-1nv"])
def folder(request, tiny_hf_folder, tmp_path_factory):
    if request.param == "ESM-2":
        return tiny_hf_folder
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("esm1nv") / "model"
    config = ESM1nvConfig(layers=2, hidden=32, heads=4)
    state = {name: 0.3 * torch.randn(shape) for name, shape in shapes(config).items()}
    write_folder(place, config, state | constants(config, torch.float32))
    return place


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_masks_are_encoded_as_among_all_tokens(folder, dtype, atol):
    encoder = Encoder.load(folder, dtype)
    tokens, offsets = packed(encoder, MASKED)
    found, expected = encoder.encode_masks(tokens, offsets), at_masks(encoder, tokens, offsets)
    assert found.offsets == expected.offsets == (0, 1, 2, 5, 5, 6)
    assert expected.hidden.std() > 0.3
    torch.testing.assert_close(found.hidden, expected.hidden, rtol=0, atol=atol)
    torch.testing.assert_close(
        encoder.logits(found), encoder.logits(expected), rtol=0, atol=3 * atol
    )


def test_without_a_mask_there_is_nothing(folder):
    encoder = Encoder.load(folder)
    found = encoder.encode_masks(*packed(encoder, ["MKT", "VR"]))
    assert (found.hidden.shape, found.offsets) == ((0, encoder.hidden_size), (0, 0, 0))
    assert encoder.logits(found).shape == (0, len(encoder.alphabet))


def test_of_other_tokens_the_last_layer_has_keys_and_values_only(tiny_hf_folder):
    """Counted: of 12 H^2 products a token and layer, 3 H^2 are left in the last one."""
    encoder = Encoder.load(tiny_hf_folder)
    tokens, offsets = packed(encoder, ["MKTVRQGACDEFGHIKLMN#QRSTVWYMKTVRQGACDEFG"] * 3)
    work = {}
    for run in (encoder.encode_masks, encoder.encode_tokens):
        with FlopCounterMode(display=False) as counter:
            run(tokens, offsets)
        work[run.__name__] = counter.get_flop_counts()["Global"][torch.ops.aten.addmm]
    hidden = encoder.hidden_size
    rows = len(tokens) - 3
    assert work["encode_tokens"] - work["encode_masks"] == 2 * rows * 9 * hidden**2


def test_places_are_counted_by_sequence():
    encoded = Encoded(torch.arange(6.0)[:, None], (0, 2, 3, 6))
    found = encoded.at(torch.tensor([True, True, False, False, True, False]))
    assert found.hidden.flatten().tolist() == [0, 1, 4]
    assert found.offsets == (0, 2, 2, 3)
