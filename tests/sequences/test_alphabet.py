"""Token ids equal the reference tokenizer, and the arrays of many sequences hold each of them."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.errors import SequenceError
from bionemo_ext.sequences import ESM1NV, ESM2

# The published table of ESM-1nv: ids 0 to 29 in order.
ESM1NV_TABLE = ["<unk>", "<s>", "</s>", "<pad>", "<mask>", *"LASGVERTIDPKNFQYHMCWXBZUO"]


def proteins(alphabet):
    return st.text(alphabet.residues, max_size=60)


both = pytest.mark.parametrize("alphabet", [ESM2, ESM1NV], ids=lambda a: a.name)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    from transformers import EsmTokenizer

    path = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    path.write_text("\n".join(ESM2.tokens))
    return EsmTokenizer(str(path))


def test_a_known_protein():
    assert ESM2.encode("MKTVRQG").tolist() == [0, 20, 15, 11, 7, 10, 16, 6, 2]


def test_special_tokens_are_the_references(reference):
    assert len(ESM2) == len(reference.get_vocab()) == 33
    assert [reference.convert_tokens_to_ids(token) for token in ESM2.tokens] == list(range(33))
    assert (ESM2.bos_id, ESM2.pad_id, ESM2.eos_id, ESM2.mask_id) == (
        reference.cls_token_id,
        reference.pad_token_id,
        reference.eos_token_id,
        reference.mask_token_id,
    )


@given(sequences=st.lists(proteins(ESM2).filter(bool), min_size=1, max_size=6))
def test_ids_and_mask_equal_the_reference_tokenizer(reference, sequences):
    expected = reference(sequences, padding=True, return_tensors="np")
    tokens, mask = ESM2.encode_padded(sequences)
    np.testing.assert_array_equal(tokens, expected["input_ids"])
    np.testing.assert_array_equal(mask, expected["attention_mask"])


def test_esm1nv_equals_the_published_table():
    assert list(ESM1NV.tokens) == ESM1NV_TABLE
    assert (ESM1NV.bos_id, ESM1NV.eos_id, ESM1NV.pad_id, ESM1NV.mask_id) == (1, 2, 3, 4)
    expected = [1, *(ESM1NV_TABLE.index(letter) for letter in "MKTVRQG"), 2]
    assert ESM1NV.encode("MKTVRQG").tolist() == expected


@both
@given(data=st.data())
def test_decode_inverts_encode(alphabet, data):
    sequence = data.draw(proteins(alphabet))
    ids = alphabet.encode(sequence)
    assert alphabet.decode(ids) == sequence
    assert (ids[0], ids[-1], len(ids)) == (alphabet.bos_id, alphabet.eos_id, len(sequence) + 2)
    assert alphabet.decode([*ids, alphabet.pad_id, alphabet.mask_id]) == sequence


@both
@given(data=st.data())
def test_packed_pieces_equal_padded_rows(alphabet, data):
    sequences = data.draw(st.lists(proteins(alphabet), max_size=8))
    tokens, mask = alphabet.encode_padded(sequences)
    packed, offsets = alphabet.encode_packed(sequences)
    assert tokens.shape == mask.shape == (len(sequences), max(map(len, tokens), default=0))
    assert (tokens.dtype, packed.dtype, offsets.dtype) == (np.int64, np.int64, np.int64)
    assert offsets.shape == (len(sequences) + 1,)
    assert (offsets[0], offsets[-1]) == (0, len(packed))
    for row, attended, (start, end) in zip(
        tokens, mask.astype(bool), pairwise(offsets), strict=True
    ):
        np.testing.assert_array_equal(row[attended], packed[start:end])
        assert attended[: end - start].all()
        assert not attended[end - start :].any()
        assert (row[~attended] == alphabet.pad_id).all()


@both
def test_standard_ids_are_the_twenty_amino_acids(alphabet):
    assert "".join(sorted(alphabet.decode(alphabet.standard_ids))) == "ACDEFGHIKLMNPQRSTVWY"


@both
@given(data=st.data())
def test_any_other_letter_is_refused_by_place(alphabet, data):
    before = data.draw(proteins(alphabet))
    letter = data.draw(st.characters().filter(lambda c: c not in alphabet.residues))
    with pytest.raises(SequenceError, match=rf"position {len(before) + 1} ") as caught:
        alphabet.encode(before + letter + "A")
    assert str(caught.value).startswith(repr(letter))


def test_gaps_are_letters_of_esm2_alone():
    assert ESM2.encode("A-.").tolist() == [0, 5, 30, 29, 2]
    with pytest.raises(SequenceError, match=re.escape("'-' at position 2 is not in the ESM-1nv")):
        ESM1NV.encode("A-.")
