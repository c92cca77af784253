"""The formulas of what a model costs: its peaks by device name, its arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.models.costs import peak_flops, training_flops

DEVICES = {  # as torch.cuda.get_device_name() tells them: bf16, fp8
    "NVIDIA H100 80GB HBM3": (989.4e12, 1978.9e12),
    "NVIDIA H100 PCIe": (756e12, 1513e12),
    "NVIDIA H200": (989.4e12, 1978.9e12),
    "NVIDIA A100-SXM4-80GB": (312e12, None),
    "NVIDIA A100 80GB PCIe": (312e12, None),
    "Tesla V100-SXM2-32GB": (125e12, None),
    "Tesla V100-PCIE-16GB": (112e12, None),
    "NVIDIA GH200 480GB": (989.4e12, 1978.9e12),
    "NVIDIA L40S": (362.1e12, 733e12),
    "h100": (989.4e12, 1978.9e12),
    "AMD Instinct MI300X": (None, None),
    "NVIDIA A1000": (None, None),
    "": (None, None),
}


@pytest.mark.parametrize("name", DEVICES)
def test_peaks(name):
    assert (peak_flops(name), peak_flops(name, "fp8")) == DEVICES[name]


def test_flops_by_hand():
    # One layer, H 4, F 16, two sequences of 3 and 5 tokens. Forward, product by product:
    config = ESM2Config(layers=1, hidden=4, heads=2)
    linear = 2 * 8 * (4 * 12 + 4 * 4 + 4 * 16 + 16 * 4)
    attention = 2 * (2 * 3 * 3 * 4) + 2 * (2 * 5 * 5 * 4)
    head = 2 * 8 * (4 * 4 + 4 * 128)
    model = 3 * (linear + attention + head)
    assert training_flops(config, 8, 9 + 25) == model
    assert training_flops(config, 8, 34, recompute="selective") == model + attention
    assert training_flops(config, 8, 34, recompute="full") == model + attention + linear


@given(lengths=st.lists(st.integers(3, 1024), min_size=1, max_size=5), times=st.integers(1, 10))
def test_flops_add_up_over_sequences(lengths, times):
    config = ESM2Config(layers=6, hidden=320, heads=20)
    each = [training_flops(config, length, length**2) for length in lengths]
    together = training_flops(config, sum(lengths), sum(n**2 for n in lengths))
    assert sum(each) == pytest.approx(together)
    # Joined end to end, as if they saw each other, they would cost more.
    joined = training_flops(config, sum(lengths), sum(lengths) ** 2)
    assert joined > together or len(lengths) == 1
