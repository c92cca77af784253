"""The same weights on a GPU, with either choice of layers."""

import os
import socket

import pytest
import torch

from bionemo_ext.models.config import megatron_config
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.folder import load_into, read_folder
from bionemo_ext.sequences import ESM2

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU on this machine"),
]


@pytest.fixture(scope="module")
def one_rank():
    from megatron.core import parallel_state, tensor_parallel

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    torch.distributed.init_process_group("nccl", rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("layers", "dtype", "tolerance"),
    [
        ("local", torch.float32, 1e-3),
        ("local", torch.bfloat16, 5e-2),
        ("transformer_engine", torch.bfloat16, 5e-2),
    ],
)
@pytest.mark.usefixtures("one_rank")
def test_logits_stay_near_the_reference(random_esm2, tmp_path, layers, dtype, tolerance):
    if layers == "transformer_engine":
        pytest.importorskip("transformer_engine", reason="TransformerEngine is not installed")
    reference = random_esm2(tmp_path / "model", layers=6, hidden=320, heads=20).eval()
    sequences = ["ACDEFGHIKLMNPQRSTVWY" * 10, "MKTVRQG" * 7]
    tokens, mask = (torch.from_numpy(array) for array in ESM2.encode_padded(sequences))
    config, state = read_folder(tmp_path / "model")
    model = ESM2Model(config, megatron_config(config, layers=layers, dtype=dtype), layers).cuda()
    load_into(model, {name: tensor.to(dtype) for name, tensor in state.items()})
    with torch.no_grad():
        expected = reference(tokens, mask).logits
        found = model(tokens.cuda(), mask.cuda())[..., : len(ESM2)].float().cpu()
    real = mask.bool()
    error = (found[real] - expected[real]).norm() / expected[real].norm()
    assert error < tolerance
