"""Masked targets: the shares of the policy, and nothing changed that is not chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.data.masking import MaskingPolicy, mask_tokens
from bionemo_ext.sequences import ESM1NV, ESM2

LENGTH, DRAWS = 333, 2000
both = pytest.mark.parametrize("alphabet", [ESM2, ESM1NV], ids=lambda a: a.name)
policies = st.builds(
    lambda chosen, masked, rest: MaskingPolicy(chosen, masked, rest * (1 - masked)),
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip


def many(alphabet, policy):
    """Tokens [LENGTH + 2] of one residue (W), and inputs and chosen of many draws [DRAWS, ...]."""
    tokens = alphabet.encode("W" * LENGTH)
    draws = [mask_tokens(tokens, np.random.default_rng([7, i]), policy) for i in range(DRAWS)]
    return tokens, np.stack([d[0] for d in draws]), np.stack([d[1] for d in draws])


def within(count, trials, share, deviations=5):
    """Whether a count lies within five standard deviations of its binomial mean."""
    return abs(count - trials * share) <= deviations * np.sqrt(trials * share * (1 - share))


@both
def test_shares_are_those_of_the_policy(alphabet):
    tokens, inputs, chosen = many(alphabet, MaskingPolicy(alphabet=alphabet))
    assert within(chosen.sum(), DRAWS * LENGTH, 0.15)
    picked = inputs[chosen]
    masked = (picked == alphabet.mask_id).sum()
    replaced = ((picked != alphabet.mask_id) & (picked != tokens[1])).sum()
    kept = (picked == tokens[1]).sum()
    assert within(masked, len(picked), 0.8)
    # One random residue in twenty is the one that stood there.
    assert within(replaced, len(picked), 0.1 * 19 / 20)
    assert within(kept, len(picked), 0.1 + 0.1 / 20)
    assert masked + replaced + kept == len(picked)


def test_substitutes_are_the_twenty_amino_acids_in_equal_parts():
    _, inputs, chosen = many(ESM2, MaskingPolicy(masked=0.0, random=1.0))
    found, counts = np.unique(inputs[chosen], return_counts=True)
    np.testing.assert_array_equal(found, ESM2.standard_ids)
    assert all(within(count, chosen.sum(), 1 / 20) for count in counts)


def test_every_place_is_chosen_as_often_as_any_other():
    _, _, chosen = many(ESM2, MaskingPolicy())
    per_place = chosen.sum(axis=0)
    assert all(within(count, DRAWS, 0.15) for count in per_place[1:-1])
    assert (per_place[[0, -1]] == 0).all()


@given(st.text(ESM2.residues, max_size=40), policies, st.integers(0, 2**32))
def test_special_tokens_stay_and_unchosen_residues_too(sequence, policy, seed):
    tokens = ESM2.encode(sequence)
    before = tokens.copy()
    inputs, chosen = mask_tokens(tokens, np.random.default_rng(seed), policy)
    np.testing.assert_array_equal(tokens, before)
    assert inputs.shape == chosen.shape == tokens.shape
    assert not chosen[[0, -1]].any()
    np.testing.assert_array_equal(inputs[~chosen], tokens[~chosen])
    exact = policy.chosen * len(sequence)
    assert np.floor(exact) <= chosen.sum() <= np.ceil(exact + 1e-9)


@given(st.text(ESM2.residues, min_size=1, max_size=40), st.integers(0, 2**32))
def test_the_extremes_of_a_policy(sequence, seed):
    tokens = ESM2.encode(sequence)
    everything = MaskingPolicy(chosen=1.0, masked=1.0, random=0.0)
    inputs, chosen = mask_tokens(tokens, np.random.default_rng(seed), everything)
    assert chosen[1:-1].all()
    assert (inputs[1:-1] == ESM2.mask_id).all()
    inputs, chosen = mask_tokens(tokens, np.random.default_rng(seed), MaskingPolicy(chosen=0.0))
    assert not chosen.any()
    np.testing.assert_array_equal(inputs, tokens)
