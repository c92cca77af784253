"""The packed encoder equals transformers elementwise, whatever stands beside a sequence."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MegatronBertConfig, MegatronBertForMaskedLM

from bionemo_ext.errors import CheckpointError, SequenceError
from bionemo_ext.huggingface import ESM1nvConfig, read_model, write_folder
from bionemo_ext.huggingface.adapter import Adapter
from bionemo_ext.huggingface.shapes import without_copies
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.packing import token_batches
from bionemo_ext.sequences import ESM1NV, ESM2

proteins = st.lists(st.text("LAGVSERTIDPKQNFYMHWCXBUZO.-", min_size=1, max_size=40), min_size=1)


@pytest.fixture(scope="module")
def encoder(tiny_hf_folder):
    return Encoder.load(tiny_hf_folder)


def reference(folder):
    from transformers import EsmForMaskedLM

    return EsmForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()


def sequences(lengths, seed=0):
    draw = np.random.default_rng(seed)
    return ["".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWYX"), n)) for n in lengths]


def compare(folder, lengths, atol=1e-4):
    model, ours = reference(folder), Encoder.load(folder)
    batch = sequences(lengths)
    tokens, mask = (torch.from_numpy(x) for x in ESM2.encode_padded(batch))
    with torch.no_grad():
        out = model(tokens, mask, output_hidden_states=True)
        contacts = model.predict_contacts(tokens, mask)
    encoded = ours.encode(batch)
    logits = ours.logits(encoded)
    assert len(encoded) == len(batch)
    for i, n in enumerate(lengths):
        a, b = encoded.offsets[i], encoded.offsets[i + 1]
        hidden = out.hidden_states[-1][i, : n + 2]
        torch.testing.assert_close(encoded.hidden[a:b], hidden, rtol=0, atol=atol)
        torch.testing.assert_close(logits[a:b], out.logits[i, : n + 2], rtol=0, atol=atol)
        found = ours.contacts(batch[i])
        torch.testing.assert_close(found, contacts[i, :n, :n], rtol=0, atol=atol)
        torch.testing.assert_close(encoded.mean()[i], hidden[1:-1].mean(0), rtol=0, atol=atol)
        torch.testing.assert_close(encoded.max()[i], hidden[1:-1].amax(0), rtol=0, atol=atol)
        torch.testing.assert_close(encoded.cls()[i], hidden[0], rtol=0, atol=atol)


def test_tiny_model(tiny_hf_folder):
    compare(tiny_hf_folder, [1, 50, 2, 17, 17, 200])


def test_real_8m_shape(random_esm2, tmp_path):
    random_esm2(tmp_path, layers=6, hidden=320, heads=20)
    compare(tmp_path, [310, 5, 77])


def test_650m_width(random_esm2, tmp_path):
    random_esm2(tmp_path, layers=2, hidden=1280, heads=20)
    compare(tmp_path, [40, 200])


@settings(max_examples=20, deadline=None)
@given(batch=proteins)
def test_neighbours_do_not_matter(encoder, batch):
    together = encoder.encode(batch).residues()
    for sequence, found in zip(batch, together, strict=True):
        alone = encoder.encode([sequence]).residues()[0]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)


def test_mask_tokens_scale_their_sequence_only(tiny_hf_folder, encoder):
    model = reference(tiny_hf_folder)
    rows = [ESM2.encode(s) for s in sequences([12, 30])]
    rows[0][3:6] = ESM2.mask_id
    packed = encoder.encode_tokens(torch.from_numpy(np.concatenate(rows)), [0, 14, 46])
    for row, a, b in ((rows[0], 0, 14), (rows[1], 14, 46)):
        with torch.no_grad():
            hidden = model.esm(torch.from_numpy(row)[None]).last_hidden_state[0]
        torch.testing.assert_close(packed.hidden[a:b], hidden, rtol=0, atol=1e-4)


def test_embed_gives_every_sequence_once(encoder):
    batch = sequences([3, 90, 41, 3, 300, 12], seed=2)
    found = {}
    for indices, encoded in encoder.embed(batch, max_tokens=100):
        assert not found.keys() & set(indices)
        found |= zip(indices, encoded.mean(), strict=True)
    for i, sequence in enumerate(batch):
        torch.testing.assert_close(found[i], encoder.encode([sequence]).mean()[0])


@given(lengths=st.lists(st.integers(1, 50)), limit=st.integers(1, 60))
def test_token_batches(lengths, limit):
    batches = list(token_batches(lengths, limit))
    assert sorted(i for b in batches for i in b) == list(range(len(lengths)))
    assert all(len(b) == 1 or sum(lengths[i] for i in b) <= limit for b in batches)


def test_bf16_error_is_small_and_told(tiny_hf_folder, encoder):
    batch = sequences([120, 40], seed=3)
    exact = encoder.encode(batch).mean()
    rough = Encoder.load(tiny_hf_folder, "bfloat16").encode(batch).mean()
    error = (rough - exact).abs().max()
    assert 0 < error < 0.05 * exact.abs().max()
    assert torch.nn.functional.cosine_similarity(rough, exact).min() > 0.9999


def test_a_letter_outside_the_alphabet(encoder):
    with pytest.raises(SequenceError, match="'J' at position 3"):
        encoder.encode(["MKJ"])


@pytest.mark.parametrize("batch", [[], [""], ["MK", ""], ["M" * 1023]])
def test_what_cannot_be_encoded(encoder, batch):
    with pytest.raises(SequenceError, match="1 to 1,022 residues"):
        encoder.encode(batch)


def spoil(folder, out, change):
    import shutil

    shutil.copytree(folder, out)
    change(out)
    return out


def resave(change):
    from safetensors.torch import load_file, save_file

    def apply(folder):
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return apply


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "not of an ESM-2"),
        (cut, "damaged or cut short"),
        (resave(lambda s: s.pop("lm_head.bias")), "lacks 1 tensors, first lm_head.bias"),
        (resave(lambda s: s.update(extra=torch.ones(1))), "1 unknown tensors, first extra"),
        (resave(lambda s: s.update({"lm_head.bias": torch.ones(3)})), "has shape"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_sentence(tiny_hf_folder, tmp_path, change, told):
    with pytest.raises(CheckpointError, match=told) as caught:
        Encoder.load(spoil(tiny_hf_folder, tmp_path / "spoilt", change))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def esm1nv_folder(tmp_path_factory):
    torch.manual_seed(5)
    config = ESM1nvConfig(layers=3, hidden=48, heads=4, max_positions=514)
    model = MegatronBertForMaskedLM(MegatronBertConfig(**config.huggingface())).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("esm1nv")
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    state["bert.embeddings.token_type_embeddings.weight"].zero_()
    model.load_state_dict(state)
    state = without_copies(state, "esm1nv")
    write_folder(folder, config, state)
    return folder, model


def test_esm1nv_equals_transformers(esm1nv_folder):
    folder, model = esm1nv_folder
    sequences = ["MKTVRQG", "A", "ACDEFGHIKLMNPQRSTVWY" * 3, "G" * 512]
    encoder = Encoder.load(folder)
    encoded = encoder.encode(sequences)
    for sequence, ours in zip(sequences, encoded.residues(), strict=True):
        tokens = torch.from_numpy(ESM1NV.encode(sequence))[None]
        with torch.no_grad():
            theirs = model.bert(tokens).last_hidden_state[0, 1:-1]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_esm1nv_has_no_contacts_and_at_most_512_residues(esm1nv_folder):
    encoder = Encoder.load(esm1nv_folder[0])
    with pytest.raises(CheckpointError, match="no contact head"):
        encoder.contacts("MKTVRQG")
    with pytest.raises(SequenceError, match="1 to 512 residues"):
        encoder.encode(["A" * 513])


@pytest.mark.parametrize("parts", [("query", "key", "value"), ("value",)])
@pytest.mark.parametrize("shared", [True, False])
def test_an_adapter_beside_the_weights_equals_one_in_them(tiny_hf_folder, parts, shared):
    config, state = read_model(tiny_hf_folder)
    generator = torch.Generator().manual_seed(3)
    random = partial(torch.randn, generator=generator)
    tensors, merged = {}, dict(state)
    common = random(4, config.hidden)
    for layer in range(config.layers):
        prefix = f"esm.encoder.layer.{layer}"
        for name in [*(f"attention.self.{part}" for part in parts), "output.dense"]:
            weight = f"{prefix}.{name}.weight"
            rows, columns = state[weight].shape
            a = common if shared and "self" in name else random(4, columns)
            b = 0.05 * random(rows, 4)
            tensors[f"{prefix}.{name}"] = (a, b)
            merged[weight] = state[weight] + 2.0 * b @ a
    base = Encoder.load(tiny_hf_folder)
    apart = base.adapted(Adapter(4, 8.0, tensors, base.digest))
    together = Encoder(config, merged, torch.float32)
    sequences = ["MKTVRQGACD", "ACDEFGHIKLMNPQRSTVWY" * 5]
    ours, theirs = apart.encode(sequences).hidden, together.encode(sequences).hidden
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert (ours - base.encode(sequences).hidden).abs().max() > 0.01
    assert apart._weights is base._weights  # held once


def test_an_adapter_that_does_not_fit_is_refused(tiny_hf_folder):
    base = Encoder.load(tiny_hf_folder)
    name = "esm.encoder.layer.0.output.dense"
    pair = (torch.ones(2, 5), torch.ones(64, 2))
    with pytest.raises(CheckpointError, match="maps 5 to 64 numbers"):
        base.adapted(Adapter(2, 2.0, {name: pair}))
    with pytest.raises(CheckpointError, match=r"changes lm_head\.dense, which is no linear map"):
        base.adapted(Adapter(2, 2.0, {"lm_head.dense": pair}))
    with pytest.raises(CheckpointError, match="trained on another encoder"):
        base.adapted(Adapter(2, 2.0, {}, "ab" * 32))
