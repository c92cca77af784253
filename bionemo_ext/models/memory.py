"""How much memory one GPU of a pretraining run needs, kind by kind, from the layers' structure.

Letters: T tokens of a micro-batch (padding counted where there is any), H hidden, F feed-forward
width, N heads, D head width, V padded vocabulary, t tensor parallel size. All sizes are in bytes.
"""

from dataclasses import dataclass, replace

from bionemo_ext.huggingface import Architecture
from bionemo_ext.models.costs import (
    PADDED_VOCABULARY,
    contact_parameters,
    linear_weights,
    trained_parameters,
)

_FP32 = 4
# Adam's two moments; the master weights and gradients of a run in 16 bits come on top.
_MOMENTS = 2 * _FP32

# What is not counted tensor by tensor: the CUDA context with the libraries' kernels (about 0.7 GB),
# cuBLAS's and TransformerEngine's workspaces (0.1), NCCL's buffers for some communicators (1), and
# an allocator's fragments (1). An allowance, not a measurement.
FRAMEWORK = 2_800_000_000


@dataclass(frozen=True)
class Layout:
    """How a model and its batch are spread over GPUs; see ``ParallelSettings``."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    sequence: bool = False
    distributed_optimizer: bool = True


@dataclass(frozen=True)
class Numbers:
    """Bytes of a number of each kind.

    Parameters
    ----------
    weight : int
        Weights and activations: 2 in bf16 and fp16, 4 in fp32.
    gradient : int
        Gradients as Megatron accumulates and reduces them.
    fp8 : bool
        Whether the layers' matrix products are in FP8.
    fp8_scales : float
        Bytes of scales that come with each FP8 number.
    bf16_first, bf16_last : int
        Layers at the ends whose matrix products are not in FP8.
    """

    weight: int = 2
    gradient: int = 4
    fp8: bool = False
    fp8_scales: float = 0.0
    bf16_first: int = 0
    bf16_last: int = 0

    def fp8_layers(self, config: Architecture, layout: "Layout", stage: int) -> int:
        """Layers of a stage that are in FP8."""
        if not self.fp8:
            return 0
        each = config.layers // layout.pipeline
        inside = range(self.bf16_first, config.layers - self.bf16_last)
        return len(range(max(inside.start, stage * each), min(inside.stop, (stage + 1) * each)))


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass of one data parallel rank takes.

    Parameters
    ----------
    tokens : int
        T, padding counted where the sequences are padded.
    rows : int
        Tokens of the longest sequence where they are padded: rotary angles are made for these.
    packed : bool
        Whether sequences lie end to end.
    """

    tokens: int
    rows: int
    packed: bool


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU by kind."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    working: float
    framework: float = FRAMEWORK

    @property
    def total(self) -> float:
        """Of all kinds."""
        return sum(vars(self).values())


def weights(config: Architecture, layout: Layout, numbers: Numbers, stage: int) -> float:
    """Weights of a rank.

    In FP8 the weights stay as they are and TransformerEngine keeps two FP8 copies of each linear
    map, as it stands and transposed, over the micro-batches of a step (its behaviour with
    ``is_first_microbatch``; an assumption here, not measured).
    """
    held = numbers.weight * trained_parameters(
        config, tensor=layout.tensor, pipeline=layout.pipeline, stage=stage
    )
    if stage == layout.pipeline - 1:
        held += _FP32 * contact_parameters(config)
    maps = numbers.fp8_layers(config, layout, stage) * linear_weights(config, layout.tensor)
    return held + 2 * maps * (1 + numbers.fp8_scales)


def gradients(config: Architecture, layout: Layout, numbers: Numbers, stage: int) -> float:
    """Megatron's one buffer of gradients, whole on every data parallel rank."""
    return numbers.gradient * trained_parameters(
        config, tensor=layout.tensor, pipeline=layout.pipeline, stage=stage
    )


def optimizer(config: Architecture, layout: Layout, numbers: Numbers, stage: int) -> float:
    """Adam's moments in fp32 and, for weights in 16 bits, fp32 master weights.

    The distributed optimizer shares them out over the data parallel ranks. 16-bit gradients are
    copied to fp32 before the update.
    """
    each = _MOMENTS + (_FP32 if numbers.weight < _FP32 else 0)
    each += _FP32 if numbers.gradient < _FP32 else 0
    held = each * trained_parameters(
        config, tensor=layout.tensor, pipeline=layout.pipeline, stage=stage
    )
    return held / layout.data if layout.distributed_optimizer else held


def layer_activations(
    config: Architecture,
    layout: Layout,
    numbers: Numbers,
    batch: MicroBatch,
    *,
    engine: bool,
    selective: bool = False,
) -> float:
    """What one layer keeps for its backward pass, operator by operator.

    Parameters
    ----------
    config, layout, numbers, batch
        The run.
    engine : bool
        TransformerEngine's layers instead of the local ones. They keep the same tensors but for
        rotary angles (made inside the kernel) and the second copy of the context of packed
        sequences; in FP8 the inputs of the four linear maps are kept as FP8. From its source, not
        measured.
    selective : bool
        Whether the core attention is computed again: its statistics are not kept.
    """
    b, T, H = numbers.weight, batch.tokens, config.hidden
    t = layout.tensor
    whole = T * H / (t if layout.sequence else 1)  # between the matrix products
    part = T * H / t
    wide = T * config.ffn / t
    map_input = 1 + numbers.fp8_scales if numbers.fp8 and engine else b

    kept = 0.0
    kept += whole * b + 2 * _FP32 * whole / H  # first LayerNorm: its input, mean and deviation
    kept += whole * map_input  # query, key and value: the norm's output
    kept += 3 * part * b  # their output, which holds the value
    if config.family == "esm2":
        kept += 2 * part * b  # query and key after the rotation
        if not engine:  # cosine and sine of the angles, for query and for key
            kept += 4 * (T if batch.packed else batch.rows) * config.head_dim * b
    kept += part * map_input  # projection: the context
    if batch.packed and not engine and not selective:
        kept += part * b  # each sequence's context, before they are joined
    elif numbers.fp8 and engine and not selective:
        kept += part * b  # attention keeps its output as it was before FP8
    if not selective:
        kept += T * config.heads / t * _FP32  # attention: log of each row's sum
    kept += whole * b + 2 * _FP32 * whole / H  # second LayerNorm
    kept += whole * map_input  # first map of the feed-forward layer: the norm's output
    kept += wide * b  # GELU: its input
    kept += wide * map_input  # second map: its output
    if config.dropout:
        kept += 2 * whole  # a byte an element, after attention and after the feed-forward layer
    return kept


def activations(
    config: Architecture,
    layout: Layout,
    numbers: Numbers,
    batch: MicroBatch,
    *,
    engine: bool,
    recompute: str,
    stage: int,
    in_flight: int,
) -> tuple[float, float]:
    """What a stage keeps for backward passes at the peak: its layers, and the head with the loss.

    With ``recompute`` full each layer keeps its input, and one layer at a time everything; the
    head's share is let go before the last layer is computed anew, so that of these two the larger
    one counts. One forward and one backward pass take turns: stage s of p has p - s micro-batches
    under way at most (Narayanan et al., 2021, 2.2), which is ``in_flight``, and the head one.
    """
    whole = batch.tokens * config.hidden / (layout.tensor if layout.sequence else 1)
    layers = config.layers // layout.pipeline
    fp8 = numbers.fp8_layers(config, layout, stage)

    def one(in_fp8: bool) -> float:
        kinds = replace(numbers, fp8=in_fp8)
        selective = recompute == "selective"
        return layer_activations(config, layout, kinds, batch, engine=engine, selective=selective)

    embedding = 0.0
    if stage == 0:  # token ids and, in ESM-2, their scales in fp32
        embedding += batch.tokens * (8 + (_FP32 if config.family == "esm2" else 0))
        embedding += whole if config.dropout else 0
    head = _head(config, layout, numbers, batch) if stage == layout.pipeline - 1 else 0.0
    if recompute != "full":
        kept = fp8 * one(in_fp8=True) + (layers - fp8) * one(in_fp8=False)
        return in_flight * (kept + embedding), head
    inputs = layers * whole * numbers.weight
    once = one(in_fp8=fp8 == layers) - whole * numbers.weight
    return in_flight * (inputs + embedding) + once, max(0.0, head - once)


def _head(config: Architecture, layout: Layout, numbers: Numbers, batch: MicroBatch) -> float:
    """What the head and the loss keep of a micro-batch."""
    b, T, H = numbers.weight, batch.tokens, config.hidden
    whole = T * H / (layout.tensor if layout.sequence else 1)
    columns = PADDED_VOCABULARY / layout.tensor
    kept = 2 * (whole * b + 2 * _FP32 * whole / H)  # final LayerNorm and that of the head
    kept += 3 * whole * b  # inputs of the dense map, of GELU and of the decoder
    kept += columns  # which columns are the vocabulary's padding
    kept += T * columns * _FP32  # cross entropy: the softmax
    kept += T * (1 + 8)  # which tokens are another rank's, and where they stand
    return kept


def working(config: Architecture, layout: Layout, numbers: Numbers, batch: MicroBatch) -> float:
    """What the widest operator needs beside what is kept: gradients of GELU's output and input.

    Or, if it is wider, the logits in 16 bits and their gradient. From the operators' shapes, not
    measured.
    """
    t = layout.tensor
    feed_forward = 2 * batch.tokens * config.ffn / t + batch.tokens * config.hidden
    head = 2 * batch.tokens * PADDED_VOCABULARY / t
    return numbers.weight * max(feed_forward, head)
