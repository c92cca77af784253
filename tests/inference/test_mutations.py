"""Variants are read as users write them, and scored by the published formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.contract.variants import Substitution, parse_variants
from bionemo_ext.errors import InputError
from bionemo_ext.inference.mutations import effects, score, sites
from bionemo_ext.sequences import ESM1NV, ESM2

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
SEQUENCE = "MKTVRQGXBM"


@st.composite
def written(draw):
    """Variants of a sequence and how somebody might write them."""
    found, texts = [], []
    for _ in range(draw(st.integers(0, 4))):
        places = draw(st.sets(st.integers(0, len(SEQUENCE) - 1), min_size=1))
        variant = [Substitution(i, draw(st.sampled_from(AMINO_ACIDS))) for i in places]
        parts = [f"{SEQUENCE[one.site]}{one.site + 1}{one.mutant}" for one in variant]
        texts.append(":".join(draw(st.permutations(parts))))
        found.append(tuple(sorted(variant, key=lambda one: one.site)))
    separator = draw(st.sampled_from([",", ", ", " ,\n"]))
    text = separator.join(texts)
    return found, draw(st.sampled_from([text, text.lower()]))


@given(written())
def test_variants_are_read_back(case):
    variants, text = case
    assert parse_variants(text, SEQUENCE, "p") == variants


@given(st.text("MKTVAG0129:, xX-", max_size=12))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    refused = None
    try:
        variants = parse_variants(text, SEQUENCE, "p")
    except InputError as error:
        variants, refused = [], str(error)
    for variant in variants:
        assert len(set(sites(variant))) == len(variant) > 0
        assert all(0 <= site < len(SEQUENCE) for site in sites(variant))
    assert refused is None or ("record 'p'" in refused and "\n" not in refused)


@pytest.mark.parametrize("alphabet", [ESM2, ESM1NV])
def test_effects_are_differences_of_log_probabilities(alphabet):
    rng = np.random.default_rng(0)
    wild = "MXAB"
    logits = rng.normal(size=(4, len(alphabet))).astype(np.float32)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    found = effects(logits, wild, alphabet)
    assert found.shape == (4, 20)
    for row, letter in enumerate(wild):
        for column, mutant in enumerate(AMINO_ACIDS):
            right = log_p[row, alphabet.ids[mutant]] - log_p[row, alphabet.ids[letter]]
            assert found[row, column] == pytest.approx(right, abs=1e-5)
    assert found[0, AMINO_ACIDS.index("M")] == found[2, 0] == 0
    (variant,) = parse_variants("M1Y:A3C", "MXAB", "p")
    assert score(variant, [found[0], found[2]]) == pytest.approx(found[0, -1] + found[2, 1])
