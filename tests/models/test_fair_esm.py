"""fair-esm's files and Hugging Face folders of the same weights become the same checkpoint."""

import json
import re
import shutil
from argparse import Namespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import ESM2Config, read_model
from bionemo_ext.models.fair_esm import contacts_path, read_fair_esm, write_fair_esm
from bionemo_ext.recipes.checkpoint import read_checkpoint, write_checkpoint
from bionemo_ext.recipes.conversion import Form, convert, read_any

LAYERS, HIDDEN, HEADS = 3, 32, 4
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def random_fair_esm(path, dtype=torch.float32):
    """Random weights under the names that fair-esm's ESM2 module has, written out in full."""
    generator = torch.Generator().manual_seed(5)

    def random(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    def linear(name, rows, columns):
        return {f"{name}.weight": random(rows, columns), f"{name}.bias": random(rows)}

    def norm(name):
        return {f"{name}.weight": random(HIDDEN), f"{name}.bias": random(HIDDEN)}

    encoder = {"embed_tokens.weight": random(33, HIDDEN), **norm("emb_layer_norm_after")}
    for i in range(LAYERS):
        for part in "kvq":
            encoder |= linear(f"layers.{i}.self_attn.{part}_proj", HIDDEN, HIDDEN)
        encoder |= linear(f"layers.{i}.self_attn.out_proj", HIDDEN, HIDDEN)
        frequencies = 1.0 / (10000 ** (torch.arange(0, 8, 2).float() / 8))
        encoder[f"layers.{i}.self_attn.rot_emb.inv_freq"] = frequencies.to(dtype)
        encoder |= norm(f"layers.{i}.self_attn_layer_norm") | norm(f"layers.{i}.final_layer_norm")
        encoder |= linear(f"layers.{i}.fc1", 4 * HIDDEN, HIDDEN)
        encoder |= linear(f"layers.{i}.fc2", HIDDEN, 4 * HIDDEN)
    head = {"weight": encoder["embed_tokens.weight"].clone(), "bias": random(33)}
    head |= linear("dense", HIDDEN, HIDDEN) | norm("layer_norm")
    model = {f"encoder.sentence_encoder.{name}": tensor for name, tensor in encoder.items()}
    model |= {f"encoder.lm_head.{name}": tensor for name, tensor in head.items()}
    cfg = Namespace(
        arch="roberta_large", encoder_layers=LAYERS, encoder_embed_dim=HIDDEN,
        encoder_attention_heads=HEADS, token_dropout=True, dropout=0.0, data="/elsewhere",
    )  # fmt: skip
    torch.save({"cfg": {"_name": None, "common": {"seed": 1}, "model": cfg}, "model": model}, path)
    contacts = {"weight": random(1, LAYERS * HEADS), "bias": random(1)}
    contacts = {f"contact_head.regression.{name}": tensor for name, tensor in contacts.items()}
    torch.save({"model": contacts}, path.with_name(path.stem + "-contact-regression.pt"))
    return {**model, **contacts}


def same_weights_by_transformers(folder, tensors, dtype=torch.float32):
    """Put fair-esm's tensors into transformers' model by its modules, and save it."""
    from transformers import EsmConfig, EsmForMaskedLM

    config = EsmConfig(
        vocab_size=33, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN, position_embedding_type="rotary", token_dropout=True,
        mask_token_id=32, pad_token_id=1, layer_norm_eps=1e-5,
    )  # fmt: skip
    model = EsmForMaskedLM(config).to(dtype)

    def fill(module, name):
        for end, parameter in module.named_parameters(recurse=False):
            parameter.data.copy_(tensors[f"{name}.{end}"])

    esm, base = model.esm, "encoder.sentence_encoder"
    fill(esm.embeddings.word_embeddings, f"{base}.embed_tokens")
    fill(esm.encoder.emb_layer_norm_after, f"{base}.emb_layer_norm_after")
    fill(esm.contact_head.regression, "contact_head.regression")
    for i, layer in enumerate(esm.encoder.layer):
        own, attention = f"{base}.layers.{i}", layer.attention.self
        for part in ("key", "value", "query"):
            fill(getattr(attention, part), f"{own}.self_attn.{part[0]}_proj")
        fill(layer.attention.output.dense, f"{own}.self_attn.out_proj")
        fill(layer.attention.LayerNorm, f"{own}.self_attn_layer_norm")
        fill(layer.intermediate.dense, f"{own}.fc1")
        fill(layer.output.dense, f"{own}.fc2")
        fill(layer.LayerNorm, f"{own}.final_layer_norm")
    model.lm_head.bias.data.copy_(tensors["encoder.lm_head.bias"])
    fill(model.lm_head.dense, "encoder.lm_head.dense")
    fill(model.lm_head.layer_norm, "encoder.lm_head.layer_norm")
    model.save_pretrained(folder)


def on_disk(checkpoint):
    """All tensors of a checkpoint as PyTorch's own reader gives them."""
    from torch.distributed import checkpoint as dcp

    reader = dcp.FileSystemReader(checkpoint / "weights")
    found = reader.read_metadata().state_dict_metadata
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in found.items()
        if hasattr(entry, "size")
    }
    dcp.load(state, storage_reader=reader, no_dist=True)
    return state


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_both_sources_become_the_same_checkpoint_and_go_back_bit_exact(tmp_path, dtype):
    tensors = random_fair_esm(tmp_path / "esm2_tiny.pt", dtype)
    same_weights_by_transformers(tmp_path / "hf", tensors, dtype)
    convert(tmp_path / "esm2_tiny.pt", tmp_path / "one", Form.NEMO)
    convert(tmp_path / "hf", tmp_path / "other", Form.NEMO)
    one, other = on_disk(tmp_path / "one"), on_disk(tmp_path / "other")
    assert one.keys() == other.keys()
    assert len(one) == 10 + 12  # beside the layers, and a layer
    assert one["module.encoder.layers.mlp.linear_fc1.weight"].shape == (LAYERS, 4 * HIDDEN, HIDDEN)
    for name, tensor in one.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, other[name]), name
    files = [tmp_path / n / "weights" / "__0_0.distcp" for n in ("one", "other")]
    assert files[0].read_bytes() == files[1].read_bytes()

    convert(tmp_path / "one", tmp_path / "back", Form.HUGGINGFACE)
    before, after = (load_file(tmp_path / n / "model.safetensors") for n in ("hf", "back"))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert (tensor.dtype, tensor.shape) == (after[name].dtype, after[name].shape), name
        assert torch.equal(tensor, after[name]), name


def test_half_weights_with_fp32_frequencies_come_back_as_they_were(tmp_path):
    from transformers import EsmForMaskedLM

    tensors = random_fair_esm(tmp_path / "esm2_tiny.pt")
    same_weights_by_transformers(tmp_path / "full", tensors)
    model = EsmForMaskedLM.from_pretrained(tmp_path / "full", torch_dtype=torch.float16)
    model.save_pretrained(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "nemo", Form.NEMO)
    convert(tmp_path / "nemo", tmp_path / "back", Form.HUGGINGFACE)
    before, after = (load_file(tmp_path / n / "model.safetensors") for n in ("hf", "back"))
    assert {t.dtype for t in before.values()} == {torch.float16, torch.float32}
    assert {n: t.dtype for n, t in before.items()} == {n: t.dtype for n, t in after.items()}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_we_write_fair_esm_as_it_was(tmp_path):
    tensors = random_fair_esm(tmp_path / "esm2_tiny.pt")
    convert(tmp_path / "esm2_tiny.pt", tmp_path / "nemo", Form.NEMO)
    out = tmp_path / "esm2_again.pt"
    convert(tmp_path / "nemo", out, Form.FAIR_ESM)
    with torch.serialization.safe_globals([Namespace]):
        model = torch.load(out, weights_only=True)
    contacts = torch.load(tmp_path / "esm2_again-contact-regression.pt", weights_only=True)
    again = {**model["model"], **contacts["model"]}
    assert again.keys() == tensors.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors.items())
    values = vars(model["cfg"]["model"])
    assert (values["encoder_layers"], values["encoder_embed_dim"]) == (LAYERS, HIDDEN)
    assert (values["encoder_attention_heads"], values["token_dropout"]) == (HEADS, True)


@pytest.mark.parametrize("form", ["sharded safetensors", "bin", "sharded bin"])
def test_other_weight_files_are_read_the_same(tmp_path, form):
    tensors = random_fair_esm(tmp_path / "esm2_tiny.pt")
    same_weights_by_transformers(tmp_path / "hf", tensors)
    shutil.copytree(tmp_path / "hf", tmp_path / "other")
    state = load_file(tmp_path / "hf" / "model.safetensors")
    (tmp_path / "other" / "model.safetensors").unlink()
    names = sorted(state)
    shards = {1: names[::2], 2: names[1::2]} if "sharded" in form else {1: names}
    safe = "safetensors" in form
    stem, end = ("model", "safetensors") if safe else ("pytorch_model", "bin")
    weight_map = {}
    for number, own in shards.items():
        name = f"{stem}-{number:05}-of-00002.{end}" if "sharded" in form else f"{stem}.{end}"
        save = save_file if safe else torch.save
        save({n: state[n] for n in own}, tmp_path / "other" / name)
        weight_map |= dict.fromkeys(own, name)
    if "sharded" in form:
        index = tmp_path / "other" / f"{stem}.{end}.index.json"
        index.write_text(json.dumps({"weight_map": weight_map}))
    config, found = read_model(tmp_path / "other")
    assert (config.layers, config.hidden, config.heads) == (LAYERS, HIDDEN, HEADS)
    assert found.keys() == state.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in state.items())
    if "sharded" in form:
        (tmp_path / "other" / next(iter(weight_map.values()))).unlink()
        with pytest.raises(CheckpointError, match=r"00001-of-00002.* is missing, which .* names"):
            read_any(tmp_path / "other")


def test_without_a_contact_regression_contacts_are_zero_and_that_is_said(tmp_path):
    path = tmp_path / "esm2_tiny.pt"
    random_fair_esm(path)
    contacts_path(path).unlink()
    done = convert(path, tmp_path / "hf", Form.HUGGINGFACE)
    assert done.notes == ["the contact head is zero: contacts are not predicted"]
    _, state = read_model(tmp_path / "hf")
    assert not state["esm.contact_head.regression.weight"].any()


class Payload:
    """What an attacker would put into a file: code that runs when it is unpickled."""

    def __reduce__(self):
        return print, ("this must not run",)


def _edit(change):
    def damage(path):
        with torch.serialization.safe_globals([Namespace]):
            whole = torch.load(path, weights_only=True)
        change(whole)
        torch.save(whole, path)

    return damage


FIRST = "encoder.sentence_encoder.layers.0.fc1.weight"
DAMAGES = {
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-400]), "damaged or cut short"),
    "text": (lambda p: p.write_text("no model"), "cannot be read"),
    "empty": (lambda p: p.write_bytes(b""), "damaged or cut short"),
    "code": (_edit(lambda w: w.update(extra=Payload())), "holds more than tensors"),
    "missing": (_edit(lambda w: w["model"].pop(FIRST)), r"lacks 1 tensors.*0.intermediate.dense"),
    "unknown": (
        _edit(lambda w: w["model"].update({"encoder.odd": torch.zeros(1)})),
        "has the tensor encoder.odd, which ESM-2 has not",
    ),
    "a layer too many": (
        _edit(lambda w: w["model"].update({FIRST.replace(".0.", ".3."): torch.zeros(1)})),
        "1 unknown tensors",
    ),
    "shape": (
        _edit(lambda w: w["model"].update({FIRST: w["model"][FIRST].T})),
        r"has shape \(32, 128\)",
    ),
    "untied": (
        _edit(lambda w: w["model"]["encoder.lm_head.weight"].add_(1)),
        "to which the model ties it",
    ),
    "frequencies": (
        _edit(
            lambda w: w["model"]["encoder.sentence_encoder.layers.1.self_attn.rot_emb.inv_freq"][
                1:
            ].mul_(1.1)
        ),
        "not of base 10000",
    ),
    "no cfg": (_edit(lambda w: w.pop("cfg")), "no cfg of a model"),
    "ESM-1": (
        _edit(lambda w: (w.pop("cfg"), w.update(args=Namespace(arch="protein_bert_base")))),
        "'protein_bert_base', an ESM-1 model",
    ),
    "heads": (
        _edit(lambda w: setattr(w["cfg"]["model"], "encoder_attention_heads", 5)),
        "cfg is of no model",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_wrong_file_is_one_sentence(tmp_path, capfd, damage):
    path = tmp_path / "esm2_tiny.pt"
    random_fair_esm(path)
    change, sentence = DAMAGES[damage]
    change(path)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_fair_esm(path)
    assert "\n" not in str(caught.value)
    assert "this must not run" not in capfd.readouterr().out


def test_a_contact_regression_alone_is_no_model(tmp_path):
    random_fair_esm(tmp_path / "esm2_tiny.pt")
    with pytest.raises(CheckpointError, match="contact regression alone"):
        read_any(tmp_path / "esm2_tiny-contact-regression.pt")


def test_reading_again_what_was_written(tmp_path):
    random_fair_esm(tmp_path / "esm2_tiny.pt")
    config, state = read_fair_esm(tmp_path / "esm2_tiny.pt")
    assert config == ESM2Config(LAYERS, HIDDEN, HEADS)
    write_fair_esm(tmp_path / "esm2_again.pt", config, state)
    _, again = read_fair_esm(tmp_path / "esm2_again.pt")
    assert again.keys() == state.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


def test_a_checkpoint_cut_short_or_of_another_shape_is_named(tmp_path):
    random_fair_esm(tmp_path / "esm2_tiny.pt")
    convert(tmp_path / "esm2_tiny.pt", tmp_path / "nemo", Form.NEMO)
    model = tmp_path / "nemo" / "model.yaml"
    text = model.read_text()
    model.write_text(text.replace("layers: 3", "layers: 2"))
    with pytest.raises(CheckpointError, match=r"has 3 layers of width 32.* says 2 of 32"):
        read_any(tmp_path / "nemo")
    model.write_text(re.sub("hidden: .*", "hidden: wide", text))
    with pytest.raises(CheckpointError, match="describes no model"):
        read_any(tmp_path / "nemo")
    model.unlink()
    with pytest.raises(CheckpointError, match=r"has no model.yaml"):
        read_any(tmp_path / "nemo")
    model.write_text(text)
    weights = tmp_path / "nemo" / "weights" / "__0_0.distcp"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="is missing or cut short"):
        read_any(tmp_path / "nemo")


def test_layers_of_unlike_precision_have_no_checkpoint(tmp_path):
    random_fair_esm(tmp_path / "esm2_tiny.pt")
    config, state = read_any(tmp_path / "esm2_tiny.pt")
    state["encoder.layers.1.mlp.linear_fc1.weight"] = state[
        "encoder.layers.1.mlp.linear_fc1.weight"
    ].half()
    with pytest.raises(CheckpointError, match="differ in precision"):
        write_checkpoint(tmp_path / "nemo", config, state)
    assert not (tmp_path / "nemo").exists()
    state["encoder.layers.1.mlp.linear_fc1.weight"] = state[
        "encoder.layers.1.mlp.linear_fc1.weight"
    ].float()
    write_checkpoint(tmp_path / "nemo", config, state)
    again, found = read_checkpoint(tmp_path / "nemo")
    assert again == config
    assert all(torch.equal(tensor, found[name]) for name, tensor in state.items())
