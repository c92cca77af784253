"""Two tensor parallel ranks: gradients of adapters against brute force, and embeddings."""

import os
import socket

import pytest
import torch
from torch import multiprocessing

from bionemo_ext.huggingface import read_model
from bionemo_ext.sequences import ESM2

SEQUENCES = ("MKTVRQGLLAWDERTYHPICSNF", "ACDEFGHIK")
RANK, ALPHA = 4, 8.0


def loss_of(hidden):
    """A number that every hidden state has a part in, each another one; hidden [T, H]."""
    generator = torch.Generator().manual_seed(3)
    return (hidden * torch.randn(hidden.shape, generator=generator)).sum()


def rank(index, port, folder, out):
    from megatron.core import parallel_state, tensor_parallel

    from bionemo_ext.models.config import megatron_config
    from bionemo_ext.models.esm2 import ESM2Model
    from bionemo_ext.models.folder import load_into, read_folder
    from bionemo_ext.models.initialise import fill
    from bionemo_ext.models.packing import Packing
    from bionemo_ext.recipes import cpu
    from bionemo_ext.recipes.finetune.settings import LoraSettings
    from bionemo_ext.recipes.tuning.lora import add_adapters

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=index, world_size=2)
    cpu.enable()
    parallel_state.initialize_model_parallel(2)
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    architecture, state = read_folder(folder)
    tokens, offsets = ESM2.encode_packed(SEQUENCES)
    tokens = torch.from_numpy(tokens)[None]
    assert tokens.shape[1] % 2 == 0
    packing = Packing(torch.as_tensor(offsets, dtype=torch.int32), 64, tokens.shape[1])
    for sequence_parallel in (False, True):
        config = megatron_config(
            architecture, tensor_parallel=2, sequence_parallel=sequence_parallel, recompute="full"
        )
        model = ESM2Model(architecture, config)
        load_into(model, state)
        add_adapters(model, LoraSettings(rank=RANK, alpha=ALPHA), seed=0)
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        assert all(".adapter." in name for name in trained)
        for name, weight in trained.items():
            fill(weight, name, 0.1, seed=5)  # a B of zero would hide the gradient of A
        hidden = model.encode(tokens, torch.ones_like(tokens), packing)
        if sequence_parallel:
            hidden = tensor_parallel.gather_from_sequence_parallel_region(
                hidden, tensor_parallel_output_grad=False
            )
        loss = loss_of(hidden[:, 0])
        loss.backward()
        whole = {n: (joined(p, p), joined(p.grad, p)) for n, p in trained.items()}
        if index == 0:
            torch.save((loss.detach(), whole), out / f"{sequence_parallel}.pt")
    embed(index, folder, out)
    torch.distributed.destroy_process_group()


def embed(index, folder, out):
    """Embed on both ranks; only the first is told what."""
    from bionemo_ext.recipes.settings import ParallelSettings, PrecisionSettings
    from bionemo_ext.recipes.tuning import RankEncoder

    for sequence_parallel in (False, True):
        parallel = ParallelSettings(devices=2, tensor=2, sequence=sequence_parallel)
        encoder = RankEncoder(folder, parallel, PrecisionSettings())
        told = SEQUENCES if index == 0 else []
        batches = [(i, e.hidden, e.offsets) for i, e in encoder.embed(told, max_tokens=30)]
        torch.save(batches, out / f"embedded-{sequence_parallel}-{index}.pt")


def joined(tensor, weight):
    """Both ranks' parts of a tensor, cut as ``weight`` is."""
    parts = [torch.empty_like(tensor) for _ in range(2)]
    torch.distributed.all_gather(parts, tensor.detach().contiguous())
    return torch.cat(parts, weight.partition_dim)


@pytest.fixture(scope="module")
def found(tmp_path_factory, tiny_hf_folder):
    """Folder of what two ranks found, with and without sequence parallelism."""
    out = tmp_path_factory.mktemp("gradients")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(rank, (port, tiny_hf_folder, out), nprocs=2, join=True)
    return out


def stacked(whole, which):
    """Adapters (0) or their gradients (1) as a checkpoint has them, layers in one tensor."""
    layers = {}
    for name, pair in whole.items():
        number, rest = name.removeprefix("encoder.layers.").split(".", 1)
        layers.setdefault(f"encoder.layers.{rest}", {})[int(number)] = pair[which]
    return {n: torch.stack([t[i] for i in range(len(t))]) for n, t in layers.items()}


def brute_force(folder, adapters):
    """Loss and gradients by transformers, every weight replaced by W + alpha / r B A."""
    from transformers import EsmForMaskedLM

    model = EsmForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    own = {name: [t.clone().requires_grad_() for t in pair] for name, pair in adapters.items()}
    weights = dict(model.named_parameters())
    changed = {
        f"{name}.weight": weights[f"{name}.weight"].detach() + ALPHA / RANK * b @ a
        for name, (a, b) in own.items()
    }
    hidden = []
    for sequence in SEQUENCES:
        tokens = torch.from_numpy(ESM2.encode(sequence))[None]
        arguments = {"input_ids": tokens, "output_hidden_states": True}
        done = torch.func.functional_call(model, changed, (), arguments)
        hidden.append(done.hidden_states[-1][0])
    loss = loss_of(torch.cat(hidden))
    loss.backward()
    return loss.detach(), {name: [t.grad for t in pair] for name, pair in own.items()}


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_gradients_are_those_of_brute_force(found, tiny_hf_folder, sequence_parallel):
    from bionemo_ext.models.adapters import adapters_to_huggingface

    config, _ = read_model(tiny_hf_folder)
    loss, whole = torch.load(found / f"{sequence_parallel}.pt")
    wanted_loss, wanted = brute_force(
        tiny_hf_folder, adapters_to_huggingface(stacked(whole, 0), config)
    )
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-5, atol=1e-3)
    gradients = adapters_to_huggingface(stacked(whole, 1), config)
    assert len(gradients) == 6 * config.layers
    for name, (a, b) in gradients.items():
        parts = [name]
        if ".self." in name:  # query, key and value share their A
            parts = [f"{name.rsplit('.', 1)[0]}.{part}" for part in ("query", "key", "value")]
        for ours, theirs in ((a, sum(wanted[p][0] for p in parts)), (b, wanted[name][1])):
            assert theirs.abs().max() > 1e-2, name
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max())


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_embeddings_of_ranks_are_those_of_one_encoder(found, tiny_hf_folder, sequence_parallel):
    from bionemo_ext.inference.encoder import Encoder

    wanted = {i[0]: e.hidden for i, e in Encoder.load(tiny_hf_folder).embed(SEQUENCES, 30)}
    for index in range(2):
        batches = torch.load(found / f"embedded-{sequence_parallel}-{index}.pt")
        assert [i for i, _, _ in batches] == [[0], [1]]
        for (i,), hidden, offsets in batches:
            assert offsets == (0, len(SEQUENCES[i]) + 2)
            torch.testing.assert_close(hidden, wanted[i], rtol=0, atol=1e-5)
