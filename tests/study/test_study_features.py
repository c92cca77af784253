"""Features on disk: computed once, and again where they would be others."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bionemo_ext.study.features import prepare


class Counting:
    """Random vectors, and how often they were asked for."""

    def __init__(self, identity="one"):
        self.name = "counting"
        self.identity = identity
        self.asked = 0

    def embed(self, sequences):
        self.asked += len(sequences)
        for index, sequence in enumerate(sequences):
            random = np.random.default_rng(len(sequence))
            yield index, random.standard_normal((len(sequence), 8)).astype(np.float32), np.zeros(8)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as found:
        yield found


def asked(source, folder, methods, pool, proteins=("MKT", "MKTA", "MKT")):
    before = source.asked
    features = prepare(folder, source, proteins, methods, pool, lambda residues: None)
    assert features.read(methods[0]).shape == (len(proteins), 8)
    return source.asked - before


def test_features_are_computed_once(tmp_path, pool):
    source = Counting()
    assert asked(source, tmp_path, ["mean", "max"], pool) == 2  # equal proteins once
    assert asked(source, tmp_path, ["max", "mean"], pool) == 0
    assert asked(source, tmp_path, ["max"], pool) == 0, "fewer methods are a part of what is there"
    assert asked(source, tmp_path, ["max", "pca1"], pool) == 2


def test_other_proteins_and_models_are_computed(tmp_path, pool):
    assert asked(Counting(), tmp_path, ["mean"], pool) == 2
    assert asked(Counting("two"), tmp_path, ["mean"], pool) == 2
    assert asked(Counting("two"), tmp_path, ["mean"], pool, ("MKT", "MK")) == 2


def test_half_a_file_is_not_taken_for_whole(tmp_path, pool):
    assert asked(Counting(), tmp_path, ["mean"], pool) == 2
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:-200])
    assert asked(Counting(), tmp_path, ["mean"], pool) == 2
