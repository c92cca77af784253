"""A mask is one residue, wherever it stands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.errors import SequenceError
from bionemo_ext.sequences import ESM1NV, ESM2, SequencePolicy
from bionemo_ext.sequences.masked import (
    clean_masked,
    encode_masked,
    mask_places,
    refuse_masks,
    spelled,
)

alphabets = st.sampled_from([ESM2, ESM1NV])


@given(st.lists(st.sampled_from([*"ACDEFXBUZO", "<mask>"]), min_size=1, max_size=60), alphabets)
def test_masks_keep_their_places(letters, alphabet):
    text = "".join(letters)
    clean = clean_masked(text, "p", SequencePolicy(alphabet))
    assert len(clean) == len(letters)
    assert spelled(clean, alphabet) == text
    ids = [alphabet.ids[letter] for letter in letters]
    expected = [alphabet.bos_id, *ids, alphabet.eos_id]
    assert encode_masked(clean, alphabet).tolist() == expected
    assert clean_masked(text.replace("A", " a\n"), "p", SequencePolicy(alphabet)) == clean


@given(st.text("ACDEF", min_size=1, max_size=30), st.data())
def test_sites_are_masked_and_nothing_else(sequence, data):
    places = data.draw(st.frozensets(st.integers(0, len(sequence) - 1)))
    tokens = encode_masked(mask_places(sequence, places), ESM2)[1:-1]
    assert set(np.flatnonzero(tokens == ESM2.mask_id)) == places
    kept = [i for i in range(len(sequence)) if i not in places]
    assert tokens[kept].tolist() == [ESM2.ids[sequence[i]] for i in kept]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("MK<mask>J", "record 'p' has 'J' at position 4"),
        ("MK<MASK>", "record 'p' has '<' at position 3"),
        ("MK<mask", "record 'p' has '<' at position 3"),
        ("M#<mask>", "record 'p' has '#' at position 2"),
        (" ", "record 'p' has no residues"),
    ],
)
def test_what_is_no_mask_is_told(text, sentence):
    with pytest.raises(SequenceError) as caught:
        clean_masked(text, "p", SequencePolicy())
    assert str(caught.value).startswith(sentence)


def test_where_masks_may_not_be():
    refuse_masks("MKT", "p", ESM2)
    with pytest.raises(SequenceError, match="record 'p' has a <mask>, which only a request"):
        refuse_masks("MK<mask>", "p", ESM2)
