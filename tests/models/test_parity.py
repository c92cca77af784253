"""ESM-2 in Megatron equals transformers' EsmForMaskedLM elementwise, on one rank and on two."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.sequences import ESM2

LENGTHS = (60, 33, 17, 5)
SHAPES = {"8M": (6, 320, 20), "650M width": (2, 1280, 20)}
LAYOUTS = {"TP 1": (1, False), "TP 2": (2, False), "TP 2 sequence parallel": (2, True)}


@dataclass
class Outputs:
    logits: torch.Tensor
    contacts: torch.Tensor
    loss: torch.Tensor
    gradients: dict[str, torch.Tensor]


def batch():
    """Mixed lengths with padding, <mask> tokens and random residues, and what was hidden."""
    generator = torch.Generator().manual_seed(3)
    width = max(LENGTHS) + 2
    tokens = torch.full((len(LENGTHS), width), ESM2.pad_id)
    mask, labels = torch.zeros_like(tokens), torch.full_like(tokens, -100)
    for i, length in enumerate(LENGTHS):
        residues = torch.randint(4, 31, (length,), generator=generator)
        hidden = torch.rand(length, generator=generator) < 0.2
        hidden[0] = True
        tokens[i, 0], tokens[i, length + 1] = ESM2.bos_id, ESM2.eos_id
        tokens[i, 1 : length + 1] = torch.where(hidden, ESM2.mask_id, residues)
        labels[i, 1 : length + 1][hidden] = residues[hidden]
        mask[i, : length + 2] = 1
    return tokens, mask, labels


def reference(model):
    """Run transformers."""
    tokens, mask, labels = batch()
    with torch.no_grad():
        logits, contacts = model(tokens, mask).logits, model.predict_contacts(tokens, mask)
    loss = model(tokens, mask, labels=labels).loss
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return Outputs(logits, contacts, loss.detach(), gradients)


def rank(index, size, sequence_parallel, port, folders, results):
    """Do in Megatron what ``reference`` does, on one of ``size`` gloo ranks."""
    from megatron.core import parallel_state, tensor_parallel

    from bionemo_ext.models.config import megatron_config
    from bionemo_ext.models.esm2 import ESM2Model
    from bionemo_ext.models.folder import load_into, read_folder
    from bionemo_ext.recipes import cpu

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=index, world_size=size)
    cpu.enable()
    parallel_state.initialize_model_parallel(tensor_model_parallel_size=size)
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    for folder, result in zip(folders, results, strict=True):
        config, state = read_folder(folder)
        model = ESM2Model(
            config,
            megatron_config(config, tensor_parallel=size, sequence_parallel=sequence_parallel),
        )
        load_into(model, state)
        outputs = {
            kind: run_megatron(model, config, size, sequence_parallel, kind)
            for kind in ("padded", "packed")
        }
        if index == 0:
            torch.save(outputs, result)
    torch.distributed.destroy_process_group()


def run_megatron(model, config, size, sequence_parallel, kind):
    from megatron.core import tensor_parallel

    from bionemo_ext.models import convert

    tokens, mask, labels = batch()
    real = mask.bool()
    model.zero_grad()
    forward = model if kind == "padded" else packed(model, real)
    with torch.no_grad():
        logits = forward(tokens, mask)
        logits = tensor_parallel.gather_from_tensor_model_parallel_region(logits)
        contacts = model.contacts(tokens, mask)
    assert (logits[real][:, len(ESM2) :] == torch.finfo(logits.dtype).min).all()
    chosen = labels >= 0
    losses = forward(tokens, mask, labels.clamp(min=0))
    loss = (losses * chosen).sum() / chosen.sum()
    loss.backward()
    own = {}
    for name, parameter in model.named_parameters():
        own[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if sequence_parallel and getattr(parameter, "sequence_parallel", False):
            torch.distributed.all_reduce(own[name])  # as Megatron's finalize_model_grads does
    every = [None] * size
    torch.distributed.all_gather_object(every, own)
    gradients = convert.to_huggingface(convert.gather(every), config)
    return Outputs(logits[..., : len(ESM2)], contacts, loss.detach(), gradients)


def packed(model, real):
    """Run a model on the tokens end to end, and put what it gives back where it was padded."""
    from bionemo_ext.models.packing import Packing

    ends = [0, *(length + 2 for length in LENGTHS), 16 - int(real.sum()) % 16]
    offsets = torch.tensor(ends).cumsum(0).int()
    packing = Packing(offsets, max(LENGTHS) + 2, int(offsets[-1]))

    def run(*padded):
        rows = [torch.nn.functional.pad(tensor[real], (0, ends[-1]))[None] for tensor in padded]
        found = model(*rows, packing=packing)[0, : -ends[-1]]
        return found.new_zeros(*real.shape, *found.shape[1:]).masked_scatter(
            real.view(*real.shape, *[1] * (found.ndim - 1)), found
        )

    return run


@pytest.fixture(scope="module")
def references(tmp_path_factory, random_esm2):
    root = tmp_path_factory.mktemp("huggingface")
    return {
        name: (root / name, reference(random_esm2(root / name, *shape)))
        for name, shape in SHAPES.items()
    }


@pytest.fixture(scope="module", params=LAYOUTS)
def ours(request, references, tmp_path_factory):
    size, sequence_parallel = LAYOUTS[request.param]
    root = tmp_path_factory.mktemp("megatron")
    folders = [folder for folder, _ in references.values()]
    results = [root / f"{i}.pt" for i in range(len(folders))]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(
        rank, (size, sequence_parallel, port, folders, results), nprocs=size, join=True
    )
    return {
        name: torch.load(path, weights_only=False)
        for name, path in zip(references, results, strict=True)
    }


@pytest.mark.parametrize("kind", ["padded", "packed"])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_equal_the_reference(ours, references, shape, kind):
    expected, found = references[shape][1], ours[shape][kind]
    real = slice(None) if kind == "padded" else batch()[1].bool()
    torch.testing.assert_close(found.logits[real], expected.logits[real], rtol=0, atol=1e-4)
    assert float(found.loss) == pytest.approx(float(expected.loss), abs=1e-5)
    for i, length in enumerate(LENGTHS):
        theirs = expected.contacts[i, :length, :length]
        assert theirs.std() > 0.05, "the contact maps are too flat to show an error"
        torch.testing.assert_close(found.contacts[i, :length, :length], theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["padded", "packed"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_the_reference(ours, references, shape, kind):
    expected, found = references[shape][1].gradients, ours[shape][kind].gradients
    assert len(expected) >= 40
    for name, gradient in expected.items():
        error = (found[name] - gradient).norm() / gradient.norm()
        # The key's bias cancels in the softmax: its gradient is zero but for rounding.
        assert error < 1e-3 or gradient.norm() < 1e-6, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("size", [1, 2, 4])
def test_conversion_is_bit_exact_both_ways(references, tmp_path, size):
    from safetensors.torch import load_file

    from bionemo_ext.models import convert
    from bionemo_ext.models.folder import read_folder, write_folder

    folder = references["8M"][0]
    config, state = read_folder(folder)
    shards = [convert.shard(state, index, size) for index in range(size)]
    write_folder(tmp_path / "back", config, convert.gather(shards))
    before, after = (load_file(Path(f) / "model.safetensors") for f in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_transformers_loads_what_we_write(references, tmp_path):
    from transformers import EsmForMaskedLM

    from bionemo_ext.models.folder import read_folder, write_folder

    folder, expected = references["8M"]
    write_folder(tmp_path / "ours", *read_folder(folder))
    model, report = EsmForMaskedLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    tokens, mask, _ = batch()
    with torch.no_grad():
        logits = model.eval()(tokens, mask).logits
    torch.testing.assert_close(logits, expected.logits, rtol=0, atol=1e-4)


def test_a_bf16_model_is_exported_as_such(references, tmp_path):
    from transformers import EsmForMaskedLM

    from bionemo_ext.inference.encoder import Encoder
    from bionemo_ext.models.folder import read_folder, write_folder

    config, state = read_folder(references["8M"][0])
    rounded = {name: tensor.bfloat16() for name, tensor in state.items()}
    write_folder(tmp_path / "rounded", config, rounded)
    model = EsmForMaskedLM.from_pretrained(tmp_path / "rounded", torch_dtype="auto")
    assert model.dtype == torch.bfloat16
    hidden = Encoder.load(tmp_path / "rounded").encode(["MKTVRQG"]).hidden
    assert hidden.dtype == torch.float32


def test_the_exported_folder_brings_its_tokenizer(references, tmp_path):
    from transformers import AutoTokenizer

    from bionemo_ext.models.folder import read_folder, write_folder

    write_folder(tmp_path / "ours", *read_folder(references["8M"][0]))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert len(tokenizer) == len(ESM2)
    for sequence in ("MKTVRQG", "ACDEFGHIKLMNPQRSTVWYXBUZO.-"):
        assert tokenizer(sequence)["input_ids"] == ESM2.encode(sequence).tolist()
    assert tokenizer.mask_token_id == ESM2.mask_id
    assert tokenizer.pad_token_id == ESM2.pad_id


def test_published_sizes():
    from omegaconf import OmegaConf

    from bionemo_ext.resources import resource

    # Of the ESM-2 paper's table and the published folders.
    published = {"8m": 7.5e6, "35m": 33.5e6, "150m": 148e6, "650m": 651e6, "3b": 2.84e9}
    for name, count in published.items():
        m = OmegaConf.load(resource("conf") / "model" / f"esm2_{name}.yaml")
        config = ESM2Config(m.layers, m.hidden, m.heads)
        layer = 4 * config.hidden**2 + 2 * config.hidden * config.ffn
        assert config.layers * layer == pytest.approx(count, rel=0.02)
