"""A shuffled order holds every number once, and every number may stand anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from bionemo_ext.data.counter import below, combine, uniform, words
from bionemo_ext.data.permutation import shuffled


@given(st.integers(1, 400), st.integers(0, 2**64 - 1))
def test_all_places_give_every_number_once(size, key):
    assert sorted(shuffled(np.arange(size), size, words(key))) == list(range(size))


@given(st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=20, unique=True))
def test_a_place_is_the_same_alone_and_among_others(places):
    key = combine(3)
    together = shuffled(np.array(places), 10**9, key)
    assert len(set(together)) == len(places)
    assert [int(shuffled(np.array([p]), 10**9, key)[0]) for p in places] == together.tolist()


@pytest.mark.parametrize("size", [2, 5, 24, 100])
def test_every_number_may_stand_at_every_place(size):
    keys = combine(1, np.arange(40_000))
    for place in {0, size // 2, size - 1}:
        counts = np.bincount(shuffled(np.full(len(keys), place), size, keys), minlength=size)
        assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("size", [3, 24, 100])
def test_neighbours_are_no_likelier_together(size):
    keys = combine(2, np.arange(40_000))
    first = shuffled(np.zeros(len(keys), dtype=np.int64), size, keys)
    second = shuffled(np.ones(len(keys), dtype=np.int64), size, keys)
    steps = np.bincount((second - first) % size, minlength=size)
    assert steps[0] == 0
    assert chisquare(steps[1:]).pvalue > 1e-4


def test_fifty_million_places_fall_everywhere():
    found = shuffled(np.arange(0, 50_000_000, 500), 50_000_000, combine(4))
    assert len(set(found.tolist())) == 100_000
    assert chisquare(np.bincount(found // 500_000, minlength=100)).pvalue > 1e-4


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 20, 1000])
def test_numbers_below_a_bound_are_alike_likely(bound):
    drawn = below(combine(5, np.arange(200_000)), bound)
    assert (drawn.min(), drawn.max()) == (0, bound - 1)
    assert bound == 1 or chisquare(np.bincount(drawn, minlength=bound)).pvalue > 1e-4


@given(st.integers(1, 2**40))
def test_the_largest_word_stays_below(bound):
    assert below(words(2**64 - 1), bound)[0] < bound
    assert uniform(words(2**64 - 1))[0] < 1


def test_keys_of_other_numbers_or_another_order_differ():
    keys = {int(combine(a, b)[0]) for a in range(50) for b in range(50)}
    assert len(keys) == 2500
