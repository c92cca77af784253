"""What a model costs: its parameters, the arithmetic of a training step, and what a GPU could do.

Letters: T tokens, H hidden, F feed-forward width, V padded vocabulary, l layers.
"""

import re
from dataclasses import dataclass

from bionemo_ext.huggingface import Architecture

# As in bionemo_ext.models.config, which imports Megatron: the vocabulary's rows in a model that is
# trained. The published counts do without them.
PADDED_VOCABULARY = 128

# The forward pass once, and twice its work in the backward pass: the gradient of each product's
# input and of its weight (of its two inputs in attention).
_FORWARD_AND_BACKWARD = 3


def parameters(config: Architecture) -> int:
    """Number of parameters as published: the vocabulary's own rows, without padding.

    In each layer four matrices H x H, two H x F, their biases and two LayerNorms; the embedding,
    which is the decoder too; ESM-1nv's positions; the final LayerNorm; the head's dense map,
    LayerNorm and bias; ESM-2's contact head. The files of ``facebook/esm2_*`` carry 1,026 x H
    positions more, which ESM-2 never reads.
    """
    vocabulary = len(config.alphabet)
    stage = trained_parameters(config)
    padding = (PADDED_VOCABULARY - vocabulary) * (config.hidden + 1)
    return stage - padding + contact_parameters(config)


def contact_parameters(config: Architecture) -> int:
    """Parameters of ESM-2's contact head, which the language model's loss does not train."""
    return config.layers * config.heads + 1 if config.family == "esm2" else 0


def trained_parameters(
    config: Architecture, *, tensor: int = 1, pipeline: int = 1, stage: int = 0
) -> int:
    """Parameters that one rank of a run trains, the padding of the vocabulary among them.

    Parameters
    ----------
    config : Architecture
        The model.
    tensor, pipeline : int
        Ranks that share a layer, and stages of layers.
    stage : int
        The rank's stage. The last of several holds the embedding once more, as the decoder.
    """
    hidden = config.hidden
    rows = PADDED_VOCABULARY // tensor
    count = config.layers // pipeline * _layer_parameters(config, tensor)
    if stage == 0:
        count += rows * hidden
        count += config.max_positions * hidden if config.family == "esm1nv" else 0
    if stage == pipeline - 1:
        count += 2 * hidden  # final LayerNorm
        count += hidden * hidden + hidden + 2 * hidden + rows  # the head and its bias
        count += rows * hidden if pipeline > 1 else 0
    return count


def linear_weights(config: Architecture, tensor: int) -> int:
    """Elements of one layer's four linear maps on one rank, without biases."""
    hidden, ffn = config.hidden, config.ffn
    return (4 * hidden * hidden + 2 * hidden * ffn) // tensor


def _layer_parameters(config: Architecture, tensor: int) -> int:
    hidden, ffn = config.hidden, config.ffn
    shared = (3 * hidden + ffn) // tensor  # biases of the maps that are cut by their outputs
    whole = 2 * hidden + 4 * hidden  # biases after the sum over ranks, two LayerNorms
    return linear_weights(config, tensor) + shared + whole


def training_flops(
    config: Architecture, tokens: float, squared_lengths: float, *, recompute: str = "none"
) -> float:
    """Floating point operations of forward and backward, of the matrix products alone.

    A product of [m, k] and [k, n] is 2mkn operations. For T tokens in sequences of lengths
    L_i (``<cls>`` and ``<eos>`` counted, padding not) the forward pass has

    - in each layer: query, key and value 6 T H^2, projection 2 T H^2, feed-forward 4 T H F,
      scores and context 4 H sum(L_i^2), as no token attends outside its sequence;
    - in the head: dense 2 T H^2, decoder 2 T H V with the padded vocabulary of 128.

    Norms, softmax, GELU and the embedding's look-up are left out, as is usual (Narayanan et al.,
    2021, "Efficient large-scale language model training on GPU clusters using Megatron-LM",
    appendix; Chowdhery et al., 2022, "PaLM", appendix B). The backward pass has twice the forward
    pass's operations.

    Parameters
    ----------
    config : Architecture
        The model.
    tokens : float
        Real tokens, without padding.
    squared_lengths : float
        Sum over the sequences of their squared lengths in tokens.
    recompute : str
        ``none`` gives the model's operations, which MFU is measured by. ``selective`` (core
        attention) and ``full`` (every layer) add what a device computes twice.
    """
    attention, rest = _layer_forward(config, tokens, squared_lengths)
    forward = config.layers * (attention + rest) + _head_forward(config, tokens)
    again = {"none": 0.0, "selective": attention, "full": attention + rest}[recompute]
    return _FORWARD_AND_BACKWARD * forward + config.layers * again


def _layer_forward(
    config: Architecture, tokens: float, squared_lengths: float
) -> tuple[float, float]:
    hidden, ffn = config.hidden, config.ffn
    linear = 2.0 * tokens * hidden * (3 * hidden + hidden + 2 * ffn)
    return 4.0 * squared_lengths * hidden, linear


def _head_forward(config: Architecture, tokens: float) -> float:
    return 2.0 * tokens * config.hidden * (config.hidden + PADDED_VOCABULARY)


@dataclass(frozen=True)
class _Device:
    """Peaks of one kind of GPU, dense, in TFLOP/s, None where it has no such units; memory."""

    name: str
    bf16: float | None
    fp16: float
    fp8: float | None
    memory: int  # GB, of the largest of that name


# NVIDIA's data sheets, tensor cores, without sparsity (theirs are halved where they tell sparse
# figures only). The first name that stands in the device's name as words of its own counts.
_DEVICES = (
    _Device("GB200", 2500, 2500, 5000, 186),
    _Device("B200", 2250, 2250, 4500, 180),
    _Device("GH200", 989.4, 989.4, 1978.9, 96),
    _Device("H200 NVL", 835.5, 835.5, 1671, 141),
    _Device("H200", 989.4, 989.4, 1978.9, 141),
    _Device("H100 NVL", 835.5, 835.5, 1671, 94),
    _Device("H100 PCIe", 756, 756, 1513, 80),
    _Device("H100", 989.4, 989.4, 1978.9, 80),
    _Device("H800", 989.4, 989.4, 1978.9, 80),
    _Device("H20", 148, 148, 296, 96),
    _Device("L40S", 362.1, 362.1, 733, 48),
    _Device("L40", 181.1, 181.1, 362, 48),
    _Device("L4", 121, 121, 242.5, 24),
    _Device("A100", 312, 312, None, 80),
    _Device("A800", 312, 312, None, 80),
    _Device("A40", 149.7, 149.7, None, 48),
    _Device("A30", 165, 165, None, 24),
    _Device("A10", 125, 125, None, 24),
    _Device("V100S", None, 130, None, 32),
    _Device("V100 SXM2", None, 125, None, 32),
    _Device("V100 SXM3", None, 125, None, 32),
    _Device("V100", None, 112, None, 32),
    _Device("T4", None, 65, None, 16),
)


def peak_flops(device_name: str, arithmetic: str = "bf16") -> float | None:
    """Most matrix operations a second of one device.

    Parameters
    ----------
    device_name : str
        As ``torch.cuda.get_device_name()`` tells it, for example ``NVIDIA H100 80GB HBM3``, or a
        short name such as ``h100``.
    arithmetic : str
        ``bf16``, ``fp16`` or ``fp8``, dense. bf16 on a device that has none (Volta, Turing) is
        its fp16, which a run there uses.

    Returns
    -------
    float or None
        FLOP/s; None for an unknown device and for FP8 where there is none.
    """
    device = _device(device_name)
    if device is None:
        return None
    peaks = {"bf16": device.bf16 or device.fp16, "fp16": device.fp16, "fp8": device.fp8}
    peak = peaks[arithmetic]
    return None if peak is None else peak * 1e12


def device_memory(device_name: str) -> float | None:
    """Bytes of memory of one device, as its name tells them or else its largest kind has.

    Parameters
    ----------
    device_name : str
        As in :func:`peak_flops`.
    """
    device = _device(device_name)
    if device is None:
        return None
    told = re.search(r"(\d+)\s*gb\b", device_name.lower())
    return (int(told[1]) if told else device.memory) * 1e9


def _device(name: str) -> _Device | None:
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((d for d in _DEVICES if set(d.name.lower().split()) <= set(words)), None)
