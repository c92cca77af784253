"""ESM-1nv in Megatron equals a reference written here from the model's description."""

import os
import socket

import pytest
import torch
from torch import multiprocessing
from torch.nn import functional as F

from bionemo_ext.huggingface import ESM1nvConfig
from bionemo_ext.sequences import ESM1NV

LENGTHS = (60, 33, 17, 5)
SHAPES = {
    "narrow": ESM1nvConfig(layers=3, hidden=96, heads=6, ffn=160, max_positions=64, dropout=0.1),
    "44M": ESM1nvConfig(),
}


def logits_of(state, config, tokens, mask):
    """Logits [B, S, 30] and the weights that they come from, in plain PyTorch.

    Pre-LayerNorm BERT: x + attention(norm(x)), x + mlp(norm(x)) with the tanh GELU, a last norm,
    then dense, erf GELU, norm and the decoder that is tied to the embedding.
    """
    weights = {name: tensor.clone().requires_grad_() for name, tensor in state.items()}
    w = weights.__getitem__

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w(f"{name}.weight"), w(f"{name}.bias"), 1e-5)

    def linear(x, name):
        return x @ w(f"{name}.weight").T + w(f"{name}.bias")

    x = w("embedding.word_embeddings.weight")[tokens]
    x = x + w("embedding.position_embeddings.weight")[: tokens.shape[1]]
    heads, width = config.heads, config.hidden // config.heads
    for i in range(config.layers):
        layer = f"encoder.layers.{i}"
        # Megatron keeps query, key and value head by head.
        qkv = linear(norm(x, f"{layer}.input_layernorm"), f"{layer}.self_attention.linear_qkv")
        q, k, v = qkv.view(*tokens.shape, heads, 3, width).permute(3, 0, 2, 1, 4)
        scores = q @ k.mT / width**0.5
        scores = scores.masked_fill(mask[:, None, None] == 0, float("-inf"))
        context = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + linear(context, f"{layer}.self_attention.linear_proj")
        inner = linear(norm(x, f"{layer}.pre_mlp_layernorm"), f"{layer}.mlp.linear_fc1")
        inner = (
            0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
        )
        x = x + linear(inner, f"{layer}.mlp.linear_fc2")
    x = linear(norm(x, "encoder.final_layernorm"), "lm_head.dense")
    x = norm(x * 0.5 * (1 + torch.erf(x / 2**0.5)), "lm_head.layer_norm")
    logits = x @ w("embedding.word_embeddings.weight").T + w("output_layer.bias")
    return logits[..., : len(ESM1NV)], weights


def batch():
    generator = torch.Generator().manual_seed(3)
    width = max(LENGTHS) + 2
    tokens = torch.full((len(LENGTHS), width), ESM1NV.pad_id)
    mask = torch.zeros_like(tokens)
    for row, length in enumerate(LENGTHS):
        tokens[row, 1 : length + 1] = torch.randint(5, 30, (length,), generator=generator)
        tokens[row, 0], tokens[row, length + 1] = ESM1NV.bos_id, ESM1NV.eos_id
        tokens[row, 2] = ESM1NV.mask_id
        mask[row, : length + 2] = 1
    return tokens, mask


def randomise(model):
    """Give a model weights of which every one shows in the logits."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.3 if parameter.ndim == 1 else 0.4 if "embedding" in name else 0.06
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if "norm.weight" in name:
                parameter.add_(1)


def compare(rank, port, shape, result):
    """Run Megatron and the reference on one rank, padded and packed."""
    from megatron.core import parallel_state, tensor_parallel

    from bionemo_ext.models.config import megatron_config
    from bionemo_ext.models.esm1nv import ESM1nvModel
    from bionemo_ext.models.packing import Packing
    from bionemo_ext.recipes import cpu

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    cpu.enable()
    parallel_state.initialize_model_parallel()
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    config = SHAPES[shape]
    model = ESM1nvModel(config, megatron_config(config))
    randomise(model)
    tokens, mask = batch()
    real = mask.bool()
    state = {name: p.detach() for name, p in model.named_parameters()}
    expected, weights = logits_of(state, config, tokens, mask)
    upstream = torch.randn(expected[real].shape, generator=torch.Generator().manual_seed(5))
    (expected[real] * upstream).sum().backward()
    offsets = torch.tensor([0, *(n + 2 for n in LENGTHS)]).cumsum(0).int()
    packing = Packing(offsets, max(LENGTHS) + 2, int(offsets[-1]))
    found = {}
    for kind in ("padded", "packed"):
        model.zero_grad()
        model.eval()
        if kind == "padded":
            logits = model(tokens, mask)[real]
        else:
            row = tokens[real][None]
            logits = model(row, torch.ones_like(row), packing=packing)[0]
        logits = logits[:, : len(ESM1NV)]
        (logits * upstream).sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
        found[kind] = logits.detach(), gradients
    model.train()
    dropped = [model(tokens, mask)[real][:, : len(ESM1NV)].detach() for _ in range(2)]
    theirs = {name: w.grad for name, w in weights.items()}
    torch.save((expected[real].detach(), theirs, found, dropped), result)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module", params=SHAPES)
def outputs(request, tmp_path_factory):
    result = tmp_path_factory.mktemp("esm1nv") / "outputs.pt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(compare, (port, request.param, result), nprocs=1, join=True)
    return torch.load(result)


@pytest.mark.parametrize("kind", ["padded", "packed"])
def test_logits_and_gradients_equal_the_reference(outputs, kind):
    expected, expected_gradients, found, _ = outputs
    logits, gradients = found[kind]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.5
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        error = (gradient - expected_gradients[name]).norm() / expected_gradients[name].norm()
        assert error < 1e-5, name


def test_dropout_is_drawn_anew_in_training_alone(outputs):
    expected, _, _, (one, other) = outputs
    assert not torch.equal(one, other)
    assert 0.05 < (one - expected).norm() / expected.norm() < 2
