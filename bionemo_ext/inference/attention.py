"""Attention on packed sequences, and what positions and maps need around it.

Shapes: T packed tokens, Q queries, L residues of one sequence, N heads, D head width.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Sequence[int],
    query_offsets: Sequence[int] | None = None,
) -> Tensor:
    """Attention inside each sequence.

    Parameters
    ----------
    query : Tensor
        [Q, N, D], of every token or of some.
    key, value : Tensor
        [T, N, D].
    offsets : sequence of int
        Sequence i has the keys ``offsets[i]`` to ``offsets[i + 1]``.
    query_offsets : sequence of int, optional
        Which of the queries are its; those of its keys where not given.

    Returns
    -------
    Tensor
        [Q, N, D].
    """
    query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
    asked = offsets if query_offsets is None else query_offsets
    spans = zip(itertools.pairwise(asked), itertools.pairwise(offsets), strict=True)
    parts = [
        F.scaled_dot_product_attention(query[:, :, c:d], key[:, :, a:b], value[:, :, a:b])
        for (c, d), (a, b) in spans
        if c < d  # a sequence may have no query
    ]
    return (torch.cat(parts, dim=2) if parts else query)[0].transpose(0, 1)


def token_positions(offsets: Sequence[int], device: torch.device) -> Tensor:
    """Place of every token in its own sequence, [T]."""
    return torch.cat([torch.arange(b - a, device=device) for a, b in itertools.pairwise(offsets)])


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
    """Turn queries or keys [T, N, D] by cosine and sine of their positions, where there are any."""
    if rotary is None:
        return x
    cosine, sine = rotary
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


def average_product_correct(maps: Tensor) -> Tensor:
    """Symmetrise maps [..., L, L] and take away what rows and columns explain (Dunn, 2008)."""
    maps = maps + maps.mT
    rows, columns = maps.sum(-1, keepdim=True), maps.sum(-2, keepdim=True)
    return maps - rows * columns / maps.sum((-1, -2), keepdim=True)
