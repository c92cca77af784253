"""The same weights on a GPU: TransformerEngine's layers and FP8 against plain layers in fp32.

The plain layers are held to transformers and to a reference of ESM-1nv's by tests on the CPU.
"""

import pytest
import torch
from torch.nn import functional as F

from bionemo_ext.data.batches import collate, pack
from bionemo_ext.data.dataset import Sample
from bionemo_ext.huggingface import ESM1nvConfig, ESM2Config
from bionemo_ext.models.config import megatron_config
from bionemo_ext.models.convert import fused_name, megatron_names
from bionemo_ext.models.esm1nv import ESM1nvModel
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.folder import load_into
from bionemo_ext.models.packing import Packing

DEVICE = "cuda"
ENGINE = "transformer_engine"
# Their products have sides that FP8 takes: multiples of 16, and of 128 in the second and third.
SHAPES = {
    "8M": ESM2Config(layers=6, hidden=320, heads=20),
    "650M width": ESM2Config(layers=4, hidden=1280, heads=20),
    "ESM-1nv 44M": ESM1nvConfig(),
}
LENGTHS = (510, 200, 60, 33, 190, 17, 5)
RECIPES = ("delayed", "current", "blockwise")
# Relative errors of all logits together. On a CPU bf16 comes to 6e-3 in 6 layers.
BF16, FP8 = 3e-2, 0.2

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU on this machine"),
]


@pytest.fixture(scope="module", autouse=True)
def one_rank():
    from megatron.core import parallel_state, tensor_parallel

    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("nccl", store=store, rank=0, world_size=1)
    parallel_state.initialize_model_parallel(create_gloo_process_groups=False)
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    parallel_state.destroy_model_parallel()
    torch.distributed.destroy_process_group()


def build(shape, *, layers=ENGINE, dtype=torch.bfloat16, fp8="off", ends=(0, 0), recompute="none"):
    if layers == ENGINE:
        pytest.importorskip("transformer_engine", reason="TransformerEngine is not installed")
    config = megatron_config(
        shape, layers=layers, dtype=dtype, fp8=fp8, bf16_ends=ends, recompute=recompute
    )
    kind = ESM2Model if shape.family == "esm2" else ESM1nvModel
    model = kind(shape, config, layers).to(DEVICE)
    load_into(model, {name: w.to(dtype) for name, w in weights(shape).items()})
    return model


def weights(shape):
    """A state far from the initial one, of numbers that bf16 holds exactly."""
    torch.manual_seed(0)
    model = (ESM2Model if shape.family == "esm2" else ESM1nvModel)(shape, megatron_config(shape))
    state = {}
    for name, weight in model.named_parameters():
        value = weight.detach().cpu().clone()
        if value.ndim == 1:
            value += 0.1 * torch.randn_like(value)
        elif "word_embeddings" in name:
            value *= 10  # the residue is seen through the biases
        elif "linear_qkv" in name:
            value.view(shape.heads, 3, -1, shape.hidden)[:, :2] *= 3  # attention far from even
        state[name] = value.bfloat16().float()
    return state


def batch(shape, packed):
    """Residues at random, some of them hidden."""
    alphabet, generator = shape.alphabet, torch.Generator().manual_seed(3)
    samples = []
    for length in LENGTHS:
        picks = torch.randint(len(alphabet.standard_ids), (length,), generator=generator)
        labels = torch.tensor(alphabet.standard_ids)[picks]
        labels = F.pad(F.pad(labels, (1, 0), value=alphabet.bos_id), (0, 1), value=alphabet.eos_id)
        chosen = torch.rand(len(labels), generator=generator) < 0.15
        chosen[[0, -1]] = False
        chosen[1] = True
        inputs = torch.where(chosen, alphabet.mask_id, labels)
        samples.append(Sample(inputs.numpy(), labels.numpy(), chosen.numpy()))
    tensors = (pack if packed else collate)(samples, alphabet.pad_id, 128 if packed else 16)
    longest = tensors.pop("longest", None)
    tensors = {name: tensor.to(DEVICE) for name, tensor in tensors.items()}
    packing = None
    if packed:
        packing = Packing(tensors["offsets"], int(longest), tensors["tokens"].shape[1])
    return tensors, packing


def logits(model, shape, packed):
    tensors, packing = batch(shape, packed)
    with torch.no_grad():
        found = model.eval()(tensors["tokens"], tensors["attention_mask"], packing=packing)
    return found[tensors["attention_mask"].bool()][:, : len(shape.alphabet)].float()


def loss(model, shape, packed, passes=1):
    """Mean loss and gradients of the last of several passes; delayed scaling learns from them."""
    tensors, packing = batch(shape, packed)
    model.train()
    for _ in range(passes):
        model.zero_grad(set_to_none=True)
        model.set_is_first_microbatch()
        losses = model(tensors["tokens"], tensors["attention_mask"], tensors["labels"], packing)
        mean = (losses.float() * tensors["loss_mask"]).sum() / tensors["loss_mask"].sum()
        mean.backward()
    plain = {fused_name(name): name for name in megatron_names(shape)}
    gradients = {
        plain[fused_name(name)]: p.grad.float()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    return mean.detach(), gradients


def apart(found, expected):
    return float((found - expected).norm() / expected.norm())


def gradients_apart(found, expected):
    assert set(found) == set(expected)
    return apart(*(torch.cat([g[n].flatten() for n in sorted(g)]) for g in (found, expected)))


@pytest.fixture(scope="module")
def reference():
    """Logits in fp32 from plain layers, padded, by shape."""
    made = {}

    def logits_of(name):
        if name not in made:
            model = build(SHAPES[name], layers="local", dtype=torch.float32)
            made[name] = logits(model, SHAPES[name], packed=False)
        return made[name]

    return logits_of


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("layers", "dtype", "tolerance"),
    [
        ("local", torch.float32, 1e-4),
        ("local", torch.bfloat16, BF16),
        (ENGINE, torch.bfloat16, BF16),
    ],
    ids=["plain fp32", "plain bf16", "TransformerEngine bf16"],
)
def test_logits_stay_near_fp32(reference, shape, layers, dtype, tolerance, packed):
    found = logits(build(SHAPES[shape], layers=layers, dtype=dtype), SHAPES[shape], packed)
    assert apart(found, reference(shape)) < tolerance


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_fp8_logits_stay_near_fp32(reference, shape, recipe, packed):
    model = build(SHAPES[shape], fp8=recipe)
    loss(model, SHAPES[shape], packed, passes=3)
    error = apart(logits(model, SHAPES[shape], packed), reference(shape))
    # Less than 1e-3 beside bf16 would mean that nothing was computed in FP8.
    assert 1e-3 < error < FP8


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_equals_padded_in_bf16(shape):
    model = build(SHAPES[shape])
    padded, packed = (logits(model, SHAPES[shape], packed) for packed in (False, True))
    assert apart(packed, padded) < 1e-2


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_gradients_stay_near_fp32(packed):
    shape = SHAPES["650M width"]
    _, expected = loss(build(shape, layers="local", dtype=torch.float32), shape, packed=False)
    _, found = loss(build(shape), shape, packed)
    assert gradients_apart(found, expected) < 5e-2


@pytest.mark.parametrize("recipe", ["current", "blockwise"])
def test_layers_at_the_ends_stay_in_bf16(recipe):
    shape = SHAPES["650M width"]
    model = build(shape, fp8=recipe, ends=(1, 2))
    loss(model, shape, packed=True)
    maps = ("self_attention.linear_qkv", "self_attention.linear_proj", "mlp.linear_fc1")
    used = [
        {layer.get_submodule(name).fp8 for name in (*maps, "mlp.linear_fc2")}
        for layer in model.encoder.layers
    ]
    assert used == [{False}, {True}, {False}, {False}]


@pytest.mark.parametrize("fp8", ["off", "current"])
@pytest.mark.parametrize("kind", ["selective", "full"])
def test_recomputing_changes_nothing(kind, fp8):
    shape = SHAPES["650M width"]
    expected, their_gradients = loss(build(shape, fp8=fp8), shape, packed=True)
    found, gradients = loss(build(shape, fp8=fp8, recompute=kind), shape, packed=True)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    # Attention's backward pass sums in no fixed order.
    assert gradients_apart(gradients, their_gradients) < 1e-2


def test_fp8_sees_weights_that_have_changed():
    shape = SHAPES["650M width"]
    model = build(shape, fp8="current")
    before, _ = loss(model, shape, packed=True)
    with torch.no_grad():
        model.encoder.layers[1].mlp.linear_fc2.weight.mul_(3)
    after, _ = loss(model, shape, packed=True)
    assert abs(float(after - before)) > 1e-3
