"""Masked targets: the shares of the policy, and nothing changed that is not chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.data.counter import combine
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
    offsets = np.arange(DRAWS + 1) * len(tokens)
    drawn = mask_tokens(np.tile(tokens, DRAWS), offsets, combine(7, range(DRAWS)), alphabet, policy)
    return tokens, *(array.reshape(DRAWS, -1) for array in drawn)


def one(sequence, seed, policy):
    """Tokens, inputs and chosen of one sequence."""
    tokens = ESM2.encode(sequence)
    return tokens, *mask_tokens(tokens, np.array([0, len(tokens)]), combine(seed), ESM2, policy)


def within(count, trials, share, deviations=5):
    """Whether a count lies within five standard deviations of its binomial mean."""
    return abs(count - trials * share) <= deviations * np.sqrt(trials * share * (1 - share))


@both
def test_shares_are_those_of_the_policy(alphabet):
    tokens, inputs, chosen = many(alphabet, MaskingPolicy())
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
    tokens, inputs, chosen = one(sequence, seed, policy)
    np.testing.assert_array_equal(tokens, ESM2.encode(sequence))
    assert inputs.shape == chosen.shape == tokens.shape
    assert not chosen[[0, -1]].any()
    np.testing.assert_array_equal(inputs[~chosen], tokens[~chosen])
    exact = policy.chosen * len(sequence)
    assert np.floor(exact) <= chosen.sum() <= np.ceil(exact + 1e-9)


@given(st.text(ESM2.residues, min_size=1, max_size=40), st.integers(0, 2**32))
def test_the_extremes_of_a_policy(sequence, seed):
    everything = MaskingPolicy(chosen=1.0, masked=1.0, random=0.0)
    _, inputs, chosen = one(sequence, seed, everything)
    assert chosen[1:-1].all()
    assert (inputs[1:-1] == ESM2.mask_id).all()
    tokens, inputs, chosen = one(sequence, seed, MaskingPolicy(chosen=0.0))
    assert not chosen.any()
    np.testing.assert_array_equal(inputs, tokens)


@given(st.lists(st.text(ESM2.residues, max_size=40), min_size=1, max_size=9), st.data())
def test_a_sequence_is_masked_alike_in_any_company(sequences, data):
    keys = combine(data.draw(st.integers(0, 2**32)), range(len(sequences)))
    rows = [ESM2.encode(sequence) for sequence in sequences]
    offsets = np.cumsum([0, *map(len, rows)])
    together = mask_tokens(np.concatenate(rows), offsets, keys, ESM2, MaskingPolicy())
    for i, row in enumerate(rows):
        alone = mask_tokens(row, np.array([0, len(row)]), keys[[i]], ESM2, MaskingPolicy())
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b[offsets[i] : offsets[i + 1]])
