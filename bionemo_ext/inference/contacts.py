"""Contacts from attention maps (Rao et al., 2021, doi 10.1101/2020.12.15.422761)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def contact_probabilities(maps: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """Logistic regression on symmetrised, APC-corrected attention maps.

    Parameters
    ----------
    maps : sequence of Tensor
        A layer's maps without ``<cls>`` and ``<eos>``, [N, L, L].
    weight, bias : Tensor
        Of the regression, [layers * N] and [1].

    Returns
    -------
    Tensor
        [L, L].
    """
    logits = bias
    for layer, coefficients in zip(maps, weight.view(len(maps), -1), strict=True):
        logits = logits + torch.einsum("nij,n->ij", average_product_correct(layer), coefficients)
    return torch.sigmoid(logits)


def average_product_correct(maps: Tensor) -> Tensor:
    """Symmetrise maps [..., L, L] and take away what rows and columns explain (Dunn, 2008)."""
    maps = maps + maps.mT
    rows, columns = maps.sum(-1, keepdim=True), maps.sum(-2, keepdim=True)
    return maps - rows * columns / maps.sum((-1, -2), keepdim=True)
