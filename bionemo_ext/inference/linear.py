"""Linear maps as the machine computes them fastest.

In bf16 on a CPU the weights are laid out once for oneDNN's blocked kernels (PyTorch's own products
lay them out anew at every call), and a GELU or a sum that follows is computed in fp32 while the
result is in the cache. Elsewhere these are PyTorch's plain operations: in fp32 oneDNN would be an
eighth faster, but sums in an order that doubles the rounding error.

Shapes: T tokens, I inputs, O outputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# What TorchInductor compiles frozen linear maps to on a CPU.
_KERNELS = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


@dataclass(frozen=True)
class Linear:
    """``W x + b``.

    Parameters
    ----------
    weight : Tensor
        W, [O, I]; opaque where ``laid_out``.
    bias : Tensor
        b, [O].
    laid_out : bool
        Whether the weight is in oneDNN's layout.
    """

    weight: Tensor
    bias: Tensor
    laid_out: bool

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> "Linear":
        """Take plain tensors of one device and number format."""
        can = _KERNELS is not None and torch.backends.mkldnn.is_available()
        if can and weight.dtype == torch.bfloat16 and weight.device.type == "cpu":
            return cls(torch.ops.mkldnn._reorder_linear_weight(weight), bias, laid_out=True)
        return cls(weight, bias, laid_out=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Map [T, I] to [T, O]."""
        if not self.laid_out:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: Tensor, approximate: str) -> Tensor:
        """GELU of the map, [T, O]; ``approximate`` is ``none`` (exact) or ``tanh``."""
        if not self.laid_out:
            return F.gelu(F.linear(x, self.weight, self.bias), approximate=approximate)
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "gelu", [], approximate
        )

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The map and ``other`` [T, O]."""
        if not self.laid_out:
            return other + F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "add")
