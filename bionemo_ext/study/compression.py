"""From one vector a residue to one vector a protein, as the study does it.

Each method sees one protein alone, so nothing is learned from other proteins, test ones included.
Letters: L residues, H hidden size.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

Array = NDArray[np.float32]
# Residues [L, H] and the <cls> token [H] to vectors by the method's name.
_Compress = Callable[[Array, Array], Mapping[str, Array]]

# Rows and columns that are kept of the two-dimensional transform.
IDCT_SIZES = {
    "idct1": (5, 44),
    "idct2": (10, 64),
    "idct3": (10, 128),
    "idct4": (10, 512),
    "idct5": (10, 640),
}


def compress(residues: Array, cls: Array, methods: Collection[str]) -> dict[str, Array]:
    """Compress the embedding of one protein.

    Parameters
    ----------
    residues : NDArray
        Embeddings of the residues, without ``<cls>`` and ``<eos>``, FP32 [L, H].
    cls : NDArray
        Embedding of ``<cls>``, FP32 [H]; the study calls it bos.
    methods : collection of str
        Of :data:`METHODS`.

    Returns
    -------
    dict of str to NDArray
        FP32 [H] by method; of an inverse cosine transform [n * m] for its size n x m.
    """
    found: dict[str, Array] = {}
    for names, function in _FAMILIES.items():
        if not set(methods).isdisjoint(names):
            found |= function(residues, cls)
    return {name: found[name].astype(np.float32) for name in methods}


def _pooled(residues: Array, cls: Array) -> Mapping[str, Array]:
    return {"mean": residues.mean(axis=0), "max": residues.max(axis=0), "cls": cls}


def _pca(residues: Array, cls: Array) -> Mapping[str, Array]:
    from sklearn.decomposition import PCA

    return _components("pca", PCA(2, random_state=0), residues)


def _kernel_pca(kernel: str) -> _Compress:
    def compressed(residues: Array, cls: Array) -> Mapping[str, Array]:
        from sklearn.decomposition import KernelPCA

        return _components(kernel, KernelPCA(2, kernel=kernel, random_state=0), residues)

    return compressed


def _components(kind: str, decomposition: Any, residues: Array) -> Mapping[str, Array]:
    """Describe each of the H dimensions by its first two components over the residues.

    The dimensions are what is decomposed, each with L features; every dimension is scaled to
    [-1, 1] over the residues before. Of one residue nothing is left, which is zero.
    """
    from sklearn.preprocessing import minmax_scale

    found = np.zeros((2, residues.shape[1]), dtype=np.float32)
    if len(residues) > 1:
        found[:] = decomposition.fit_transform(minmax_scale(residues, (-1, 1)).T).T
    return {f"{kind}1": found[0], f"{kind}2": found[1]}


def _inverse_cosine(name: str, size: tuple[int, int]) -> _Compress:
    def compressed(residues: Array, cls: Array) -> Mapping[str, Array]:
        return {name: quantised_inverse_cosine(residues, *size)}

    return compressed


def quantised_inverse_cosine(residues: Array, rows: int, columns: int) -> Array:
    """Resample an embedding to a fixed shape through its lowest cosine frequencies.

    As PROST does (Kilinc, Jia and Jernigan, PNAS 2023, doi 10.1073/pnas.2211823120) and the study
    with it: along the residues, then along the hidden dimensions, the lowest frequencies are
    transformed back, scaled to 0 to 1 a line, and in the end counted in 127ths. The first and last
    residue are left out, as there. Where a side has fewer frequencies than are kept, the rest are
    zero.

    Parameters
    ----------
    residues : NDArray
        [L, H].
    rows, columns : int
        Frequencies that are kept along the residues and along the hidden dimensions.

    Returns
    -------
    NDArray
        Whole numbers 0 to 127 as FP32, [rows * columns].
    """
    inner = (residues[1:-1] if len(residues) > 2 else residues).astype(np.float64)
    shorter = _resampled(inner.T, rows)  # [H, rows]
    return np.trunc(127 * _resampled(shorter.T, columns)).ravel().astype(np.float32)


def _resampled(lines: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Each line of [K, N] through its lowest ``size`` frequencies, scaled to 0 to 1: [K, size]."""
    kept = dct(lines, type=2, norm="ortho", axis=1)[:, :size]
    back = idct(kept, type=2, norm="ortho", axis=1, n=size)
    low, high = back.min(axis=1, keepdims=True), back.max(axis=1, keepdims=True)
    # A constant line has no scale; it says nothing, as 0.
    return (back - low) / np.where(high > low, high - low, 1)


_FAMILIES: Mapping[tuple[str, ...], _Compress] = {
    ("mean", "max", "cls"): _pooled,
    ("pca1", "pca2"): _pca,
    ("rbf1", "rbf2"): _kernel_pca("rbf"),
    ("sigmoid1", "sigmoid2"): _kernel_pca("sigmoid"),
    **{(name,): _inverse_cosine(name, size) for name, size in IDCT_SIZES.items()},
}
METHODS = tuple(name for names in _FAMILIES for name in names)
