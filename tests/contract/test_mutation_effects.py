"""Variants are read as users write them, and scored by the published formula."""

import numpy as np
import pytest
from Bio.Data import IUPACData
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.contract.effects import site_effects, variant_effect
from bionemo_ext.contract.variants import (
    Substitution,
    apply,
    difference,
    parse_variant,
    parse_variants,
    sites,
    written,
)
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import ESM1NV, ESM2

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
SEQUENCE = "MKTVRQGXBM"
THREE = IUPACData.protein_letters_1to3


@st.composite
def written_variants(draw):
    """Variants of a sequence and how somebody might write them."""
    found, texts = [], []
    for _ in range(draw(st.integers(0, 4))):
        places = draw(st.sets(st.integers(0, len(SEQUENCE) - 1), min_size=1))
        variant = [Substitution(i, draw(st.sampled_from(AMINO_ACIDS))) for i in places]
        style = draw(st.sampled_from(["{}{}{}", "p.{}{}{}", "p.({}{}{})", "({}{}{})"]))
        spelled = draw(st.sampled_from([str, THREE.get]))
        parts = [
            style.format(spelled(SEQUENCE[one.site]) or SEQUENCE[one.site], one.site + 1,
                         spelled(one.mutant))
            for one in variant
        ]  # fmt: skip
        texts.append(":".join(draw(st.permutations(parts))))
        found.append(tuple(sorted(variant, key=lambda one: one.site)))
    separator = draw(st.sampled_from([",", ", ", " ,\n"]))
    text = separator.join(texts)
    return found, draw(st.sampled_from([text, text.lower()]))


@given(written_variants())
def test_variants_are_read_back(case):
    variants, text = case
    assert parse_variants(text, SEQUENCE, "p") == variants


@given(st.text("MKTVAG0129:, xX-p.()lys", max_size=16))
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


@given(written_variants(), st.integers(-30, 300))
def test_variants_are_written_as_they_are_read(case, offset):
    for variant in case[0]:
        text = written(SEQUENCE, variant, offset)
        assert parse_variant(text, SEQUENCE, "it", offset) == variant
        changed = tuple(one for one in variant if SEQUENCE[one.site] != one.mutant)
        assert difference(SEQUENCE, apply(SEQUENCE, variant)) == changed


@pytest.mark.parametrize(
    "text",
    [
        *("K2", "2G", "K2*", "K2-", "K2B", "K3G", "K0G", "K11G", "K2GG", "", "*2G", "-2G"),
        *("p.Lys2Ter", "p.Lys3Gly", "p.(Lys2Gly", "p.Lys2Gly)", "p.Lys2=", "p.Lys2del", "c.76A>T"),
    ],
)
def test_what_is_wrong_with_a_variant(text):
    told = {
        "K2*": "has '*' as mutant, which is not one of the 20 amino acids",
        "K2-": "has '-' as mutant",
        "K2B": "has 'B' as mutant",
        "K3G": "has 'K' as wild type at position 3, the sequence has 'T'",
        "K0G": "names position 0; the sequence has 1 to 10",
        "p.Lys2Ter": "has '*' as mutant",
        "p.Lys3Gly": "has 'K' as wild type at position 3, the sequence has 'T'",
        "K11G": "names position 11; the sequence has 1 to 10",
    }
    with pytest.raises(InputError, match=r"^it ") as refused:
        parse_variant(text, SEQUENCE, "it")
    assert told.get(text, "cannot be read: substitutions look like A24G") in str(refused.value)


@pytest.mark.parametrize("alphabet", [ESM2, ESM1NV])
def test_effects_are_differences_of_log_probabilities(alphabet):
    rng = np.random.default_rng(0)
    wild = "MXAB"
    logits = rng.normal(size=(4, len(alphabet))).astype(np.float32)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    found = site_effects(logits, wild, alphabet)
    assert found.shape == (4, 20)
    for row, letter in enumerate(wild):
        for column, mutant in enumerate(AMINO_ACIDS):
            right = log_p[row, alphabet.ids[mutant]] - log_p[row, alphabet.ids[letter]]
            assert found[row, column] == pytest.approx(right, abs=1e-5)
    assert found[0, AMINO_ACIDS.index("M")] == found[2, 0] == 0
    (variant,) = parse_variants("M1Y:A3C", "MXAB", "p")
    assert variant_effect(variant, found[[0, 2]]) == pytest.approx(found[0, -1] + found[2, 1])
