"""Compressions of one protein against the formulas of the published scripts."""

import numpy as np
import pytest
from scipy import fftpack

from bionemo_ext.study.compression import IDCT_SIZES, METHODS, compress


@pytest.fixture(scope="module")
def protein():
    random = np.random.default_rng(3)
    residues = random.standard_normal((57, 32)).astype(np.float32)
    return residues * random.gamma(2, size=32).astype(np.float32), residues[0] + 1


def published_inverse_cosine(embedding, n, m):
    """As PROST and the study's scripts write it, a line at a time."""

    def lines(values, keep):
        found = []
        for line in values:
            back = fftpack.idct(fftpack.dct(line, norm="ortho")[:keep], norm="ortho")
            found.append((back - back.min()) / (back.max() - back.min()))
        return np.array(found)

    shorter = lines(embedding[1 : len(embedding) - 1].T, n).T
    return (lines(shorter, m).reshape(n * m) * 127).astype("int8")


@pytest.mark.parametrize(("rows", "columns"), [(5, 12), (10, 32), (5, 31)])
def test_the_inverse_cosine_transform_is_the_published_one(protein, rows, columns):
    from bionemo_ext.study.compression import quantised_inverse_cosine

    found = quantised_inverse_cosine(protein[0], rows, columns)
    expected = published_inverse_cosine(protein[0].astype(np.float64), rows, columns)
    assert found.shape == (rows * columns,)
    # The order of sums may move a number beside a whole one to its other side.
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.99


def test_components_are_the_published_ones(protein):
    from sklearn.decomposition import PCA, KernelPCA
    from sklearn.preprocessing import MinMaxScaler

    residues = protein[0]
    found = compress(*protein, ("pca1", "pca2", "rbf1", "rbf2", "sigmoid1", "sigmoid2"))
    scaled = MinMaxScaler((-1, 1)).fit_transform(residues).T
    for kind, model in (
        ("pca", PCA(2)),
        ("rbf", KernelPCA(2, kernel="rbf")),
        ("sigmoid", KernelPCA(2, kernel="sigmoid")),
    ):
        expected = model.fit_transform(scaled).T
        for place in (0, 1):
            one = found[f"{kind}{place + 1}"]
            assert one.shape == (32,)
            np.testing.assert_allclose(one, expected[place], rtol=0, atol=1e-4)


def test_pooling(protein):
    residues, cls = protein
    found = compress(residues, cls, ("cls", "max", "mean"))
    assert list(found) == ["cls", "max", "mean"]
    np.testing.assert_array_equal(found["cls"], cls)
    np.testing.assert_allclose(found["mean"], residues.mean(0), rtol=1e-6)
    np.testing.assert_array_equal(found["max"], residues.max(0))


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_short_proteins_have_vectors_of_the_same_size(protein, length):
    whole = compress(*protein, METHODS)
    found = compress(protein[0][:length], protein[1], METHODS)
    for method, vector in found.items():
        assert vector.shape == whole[method].shape, method
        assert vector.dtype == np.float32
        assert np.isfinite(vector).all(), method
    for method, (rows, columns) in IDCT_SIZES.items():
        assert found[method].shape == (rows * columns,)
