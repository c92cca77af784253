"""LoRA adapters: PEFT's folder, the way from Megatron's linear maps, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import (
    Adapter,
    ESM1nvConfig,
    ESM2Config,
    check_adapter,
    merge_adapter,
    read_adapter,
    read_model,
    weights_digest,
    write_adapter,
    write_folder,
)
from bionemo_ext.models.adapters import adapters_to_huggingface
from bionemo_ext.models.config import PADDED_VOCABULARY
from bionemo_ext.models.convert import from_huggingface, megatron_names, to_huggingface

SMALL = {
    "esm2": ESM2Config(layers=2, hidden=64, heads=4),
    "esm1nv": ESM1nvConfig(layers=2, hidden=64, heads=4, max_positions=40),
}
RANK, ALPHA = 4, 6.0


def megatron_state(config):
    torch.manual_seed(0)
    shapes = {
        "linear_qkv": (3 * config.hidden, config.hidden),
        "linear_proj": (config.hidden, config.hidden),
        "linear_fc1": (config.ffn, config.hidden),
        "linear_fc2": (config.hidden, config.ffn),
    }
    state, adapters = {}, {}
    for name in megatron_names(config):
        part = name.split(".")[-2] if "." in name else name
        rows, columns = shapes.get(part, (config.hidden, config.hidden))
        if "contact" in name:
            size = (1,) if "bias" in name else (config.layers * config.heads,)
        elif "word_embeddings" in name or "position" in name:
            rows = PADDED_VOCABULARY if "word" in name else config.max_positions
            size = (rows, config.hidden)
        elif name == "output_layer.bias":
            size = (PADDED_VOCABULARY,)
        else:
            matrix = name.endswith("weight") and "norm" not in name
            size = (rows, columns) if matrix else (rows,)
        state[name] = torch.randn(size)
        if size[0] == PADDED_VOCABULARY:
            state[name][len(config.alphabet) :] = 0
    for part, (rows, columns) in shapes.items():
        prefix = f"encoder.layers.{'mlp' if 'fc' in part else 'self_attention'}.{part}.adapter"
        adapters[f"{prefix}.linear_in.weight"] = torch.randn(config.layers, RANK, columns)
        adapters[f"{prefix}.linear_out.weight"] = torch.randn(config.layers, rows, RANK)
    return state, adapters


@pytest.mark.parametrize("family", SMALL)
def test_merging_there_is_merging_here(family):
    config = SMALL[family]
    state, adapters = megatron_state(config)
    wanted = dict(state)
    for name, inner in adapters.items():
        if name.endswith("linear_out.weight"):
            continue
        outer = adapters[name.replace("linear_in", "linear_out")]
        for layer in range(config.layers):
            key = name.replace("layers.", f"layers.{layer}.", 1).replace(".adapter.linear_in", "")
            wanted[key] = state[key] + ALPHA / RANK * (outer[layer] @ inner[layer])
    adapter = Adapter(RANK, ALPHA, adapters_to_huggingface(adapters, config))
    merged = merge_adapter(to_huggingface(state, config), config, adapter)
    found = from_huggingface(merged, config)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=1e-5)
    assert len(adapter.tensors) == 6 * config.layers


@pytest.fixture
def made(tiny_hf_folder, tmp_path):
    """A model, its weights and an adapter of it on disk."""
    config, state = read_model(tiny_hf_folder)
    _, adapters = megatron_state(config)
    small = {name: tensor * 0.1 for name, tensor in adapters.items()}
    adapter = Adapter(
        RANK, ALPHA, adapters_to_huggingface(small, config), weights_digest(tiny_hf_folder), 0.1
    )
    write_adapter(tmp_path / "adapter", adapter)
    return config, state, adapter, tmp_path / "adapter"


def test_what_is_written_is_read(made):
    _, _, adapter, folder = made
    found = read_adapter(folder)
    assert replace(found, tensors={}) == replace(adapter, tensors={})
    assert found.tensors.keys() == adapter.tensors.keys()
    for name, pair in adapter.tensors.items():
        assert all(torch.equal(a, b) for a, b in zip(pair, found.tensors[name], strict=True))
    assert not list(folder.parent.glob(".*"))


def test_names_and_shapes_are_those_of_pefts_documentation(made):
    config, _, _, folder = made
    tensors = load_file(folder / "adapter_model.safetensors")
    query = "base_model.model.esm.encoder.layer.0.attention.self.query"
    assert tensors[f"{query}.lora_A.weight"].shape == (RANK, config.hidden)
    assert tensors[f"{query}.lora_B.weight"].shape == (config.hidden, RANK)
    raw = json.loads((folder / "adapter_config.json").read_text())
    assert (raw["peft_type"], raw["r"], raw["lora_alpha"]) == ("LORA", RANK, ALPHA)
    names = {f"base_model.model.{n}.lora_{x}.weight" for n in raw["target_modules"] for x in "AB"}
    assert names == tensors.keys()


def test_peft_gives_what_the_merged_model_gives(made, tiny_hf_folder, tmp_path, recwarn):
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    from transformers import EsmForMaskedLM

    config, state, adapter, folder = made
    base = EsmForMaskedLM.from_pretrained(tiny_hf_folder)
    theirs = peft.PeftModel.from_pretrained(base, str(folder)).eval()
    assert not [w for w in recwarn if "Unexpected keyword" in str(w.message)]
    write_folder(tmp_path / "merged", config, merge_adapter(state, config, adapter))
    ours = EsmForMaskedLM.from_pretrained(tmp_path / "merged").eval()
    tokens = torch.tensor([[0, 20, 15, 11, 7, 10, 16, 6, 2]])
    with torch.no_grad():
        found, wanted = ours(tokens).logits, theirs(tokens).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    assert read_adapter(tmp_path / "theirs").tensors.keys() == adapter.tensors.keys()


def test_an_adapter_is_a_small_part_of_its_model(made):
    config, _, _, folder = made
    numbers = sum(
        tensor.numel() for tensor in load_file(folder / "adapter_model.safetensors").values()
    )
    size = (folder / "adapter_model.safetensors").stat().st_size
    assert size < 4 * numbers + 200 * 12 * config.layers


def test_merging_keeps_what_has_no_adapter_and_the_precision(made):
    config, state, adapter, _ = made
    half = {name: t if "inv_freq" in name else t.bfloat16() for name, t in state.items()}
    merged = merge_adapter(half, config, adapter)
    for name, tensor in half.items():
        changed = name.removesuffix(".weight") in adapter.tensors
        assert merged[name].dtype == tensor.dtype
        assert torch.equal(merged[name], tensor) != changed, name


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("peft_type", "IA3", "has peft_type='IA3'"),
        ("use_dora", True, "has use_dora=True"),
        ("use_rslora", True, "has use_rslora=True"),
        ("bias", "all", "has bias='all'"),
        ("modules_to_save", ["classifier"], "has modules_to_save"),
        ("r", 0, "has r=0"),
        ("r", 8, "not of rank 8"),
    ],
)
def test_other_adapters_are_refused(made, key, value, told):
    path = made[3] / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=told):
        read_adapter(made[3])


def test_damaged_and_missing_files_are_one_sentence(made, tmp_path):
    folder = made[3]
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    with pytest.raises(CheckpointError, match="is damaged or cut short"):
        read_adapter(folder)
    weights.write_bytes(whole)
    tensors = load_file(weights)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match="does not hold an A and a B"):
        read_adapter(folder)
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        read_adapter(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is missing"):
        read_adapter(folder)


def test_an_adapter_of_another_model_is_refused(made):
    config, _, adapter, _ = made
    check_adapter(adapter, config, adapter.base_digest)
    with pytest.raises(CheckpointError, match="was trained on other weights"):
        check_adapter(adapter, config, "0" * 64)
    with pytest.raises(CheckpointError, match="which the model has not"):
        check_adapter(adapter, replace(config, layers=1))
    with pytest.raises(CheckpointError, match="the model's is \\(128, 128\\)"):
        check_adapter(adapter, ESM2Config(layers=2, hidden=128, heads=4))
