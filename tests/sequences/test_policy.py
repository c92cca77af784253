"""What is mended in a sequence, what is refused and how, and how a long one is cut."""

import re
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bionemo_ext.errors import SequenceError
from bionemo_ext.sequences import (
    ESM1NV,
    ESM2,
    LengthPolicy,
    SequencePolicy,
    clean_sequence,
    read_fasta,
    windows,
)
from bionemo_ext.sequences.policy import looks_like_nucleotides, refuse_long

residues = st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=60)
TO_X = SequencePolicy(unknown_to_x=True)
# A coding strand with all four bases: the start of lacZ, 60 letters.
DNA = "ATGACCATGATTACGGATTCACTGGCCGTCGTTTTACAACGTCGTGACTGGGAAAACCCT"


@given(residues, st.randoms(), st.text(" \t\r\n", max_size=5), st.booleans())
def test_case_white_space_and_a_final_stop_are_mended(sequence, random, space, stop):
    letters = [random.choice((c.upper(), c.lower())) + random.choice(("", space)) for c in sequence]
    assert clean_sequence("".join(letters) + "*" * stop, "p") == sequence
    assert clean_sequence(clean_sequence(sequence, "p"), "p") == sequence


@pytest.mark.parametrize("empty", ["", "  \n", "*", " * "])
def test_nothing_left_is_refused(empty):
    for policy in (None, TO_X):
        with pytest.raises(SequenceError, match=r"^record 'p1' has no residues$"):
            clean_sequence(empty, "p1", policy)


@pytest.mark.parametrize(
    ("sequence", "letter", "position"),
    [
        ("MK1T", "1", 3),
        ("M K\n1T", "1", 3),
        ("MK*T", "*", 3),
        ("MKT**", "*", 4),
        ("mkéT", "é", 3),
        ("ßMK", "ß", 1),  # str.upper() would make two serines of it
        ("MK\u0131", "\u0131", 3),  # and an isoleucine of a dotless i
        ("MKﬁ", "ﬁ", 3),
        ("MK\x00", "\x00", 3),
        ("MJK", "J", 2),
    ],
)
def test_another_letter_is_named_with_its_position(sequence, letter, position):
    sentence = f"record 'p1' has {letter!r} at position {position}, which is not in the ESM-2"
    with pytest.raises(SequenceError, match="^" + re.escape(sentence)) as caught:
        clean_sequence(sequence, "p1")
    assert len(str(caught.value).splitlines()) == 1


@given(st.text(max_size=30))
def test_unknown_to_x_changes_unknown_letters_alone(text):
    compact = "".join(text.split()).removesuffix("*")
    assume(compact)
    cleaned = clean_sequence(text, "p", TO_X)
    assert len(cleaned) == len(compact)
    for letter, became in zip(compact, cleaned, strict=True):
        upper = letter.upper() if letter.isascii() else letter
        assert became == (upper if upper in ESM2.residues else "X")


def test_the_alphabet_decides_what_is_known():
    assert clean_sequence("MK-T", "p") == "MK-T"
    with pytest.raises(SequenceError, match="ESM-1nv"):
        clean_sequence("MK-T", "p", SequencePolicy(ESM1NV))


@pytest.mark.parametrize("sequence", [DNA, DNA.lower(), DNA.replace("T", "U"), DNA + "NNN"])
def test_nucleotides_are_refused_whatever_the_policy(sequence):
    for policy in (None, TO_X, SequencePolicy(ESM1NV)):
        with pytest.raises(SequenceError, match=r"looks like nucleotides.*translate it first"):
            clean_sequence(sequence, "gene", policy)


@given(st.text("ACGTN", min_size=36, max_size=300), st.permutations("ACGT"))
def test_genes_of_random_bases_are_refused(bases, all_four):
    with pytest.raises(SequenceError, match="nucleotides"):
        clean_sequence("".join(all_four) + bases, "gene")


def test_short_or_one_sided_sequences_are_proteins():
    assert clean_sequence(DNA[:39], "peptide") == DNA[:39]
    assert clean_sequence("A" * 100, "poly-alanine") == "A" * 100
    for letter in set(ESM2.residues) - set("ACGTUN"):
        assert clean_sequence(DNA + letter, "p") == DNA + letter


def test_no_real_protein_is_taken_for_nucleotides(shared_data):
    path = shared_data / "uniprot" / "uniprot_20k.fasta.gz"
    records = list(read_fasta(path, unique=False))
    assert len(records) == 20_000
    assert sum(len(record.sequence) for record in records) == 9_055_569
    assert not [r.name for r in records if looks_like_nucleotides(r.sequence)]


def test_the_limit_is_the_policys_own_or_the_alphabets():
    assert (SequencePolicy().limit, SequencePolicy(ESM1NV).limit) == (1022, 512)
    assert SequencePolicy(max_residues=30, long=LengthPolicy.REFUSE).limit == 30


def test_refusing_names_record_length_and_limit():
    refuse_long("A" * 1022, "p1", 1022)
    with pytest.raises(
        SequenceError, match=r"^record 'p1' has 1,023 residues, the limit is 1,022$"
    ):
        refuse_long("A" * 1023, "p1", 1022)


@given(st.integers(0, 5000), st.integers(1, 300), st.data())
def test_windows_cover_everything_and_overlap_as_promised(length, limit, data):
    overlap = data.draw(st.none() | st.integers(0, limit - 1))
    spans = list(windows(length, limit, overlap))
    promised = limit // 4 if overlap is None else overlap
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert {end - start for start, end in spans} == {min(limit, length)}
    for (start, end), (following, following_end) in pairwise(spans):
        assert end - following >= promised
        assert start < following
        assert end < following_end
    assert len(spans) == max(1, -(-(length - promised) // (limit - promised)))


@pytest.mark.parametrize("overlap", [-1, 10, 11])
def test_an_overlap_that_never_ends_is_refused(overlap):
    with pytest.raises(ValueError, match="below the limit 10"):
        list(windows(100, 10, overlap))
