"""Labels as numbers, and one sentence for each that cannot be one."""

import numpy as np
import pytest

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.examples import Example, LabelledSet
from bionemo_ext.tasks.reading import read_labelled
from bionemo_ext.tasks.targets import IGNORED, numeric_targets

NAN = np.nan


def labelled(*targets, masks=("", "", "", "")):
    """Two training examples, one to validate and one to test."""
    made = [
        Example(f"p{i}", f"set.fasta record p{i}", "M" * 3, target, mask)
        for i, (target, mask) in enumerate(zip(targets, masks, strict=True))
    ]
    return LabelledSet(made[:2], made[2:3], made[3:])


def test_a_class_a_protein():
    found = numeric_targets(labelled("b", "a", "a", "b"), Level.SEQUENCE, Kind.CLASSIFICATION)
    assert (found.classes, found.mean, found.scale) == (("a", "b"), 0.0, 1.0)
    assert [x.item() for x in (*found.train, *found.validation, *found.test)] == [1, 0, 0, 1]
    assert (found.train[0].shape, found.train[0].dtype) == ((), np.int64)
    given = numeric_targets(
        labelled("b", "a", "c", "b"), Level.SEQUENCE, Kind.CLASSIFICATION, classes=["c", "b", "a"]
    )
    assert [x.item() for x in (*given.train, *given.validation)] == [1, 2, 0]


def test_a_class_a_residue_and_masked_ones_do_not_count():
    data = labelled("HEC", "HHX", "CCC", "HXX", masks=("111", "110", "", "100"))
    found = numeric_targets(data, Level.RESIDUE, Kind.CLASSIFICATION)
    assert found.classes == ("C", "E", "H")
    assert [x.tolist() for x in found.train] == [[2, 1, 0], [2, 2, IGNORED]]
    assert found.test[0].tolist() == [2, IGNORED, IGNORED]
    assert (found.train[0].dtype, found.validation[0].tolist()) == (np.int64, [0, 0, 0])


def test_labels_of_a_protein():
    found = numeric_targets(labelled("b;a", "", "b", " a ; b "), Level.SEQUENCE, Kind.MULTILABEL)
    assert found.classes == ("a", "b")
    rows = [x.tolist() for x in (*found.train, *found.validation, *found.test)]
    assert rows == [[1, 1], [0, 0], [0, 1], [1, 1]]
    assert found.train[0].dtype == np.float32


def test_labels_of_a_residue():
    letters = {"0": [], "1": ["metal"], "4": ["small"], "5": ["metal", "small"]}
    data = labelled("015", "400", "000", "551", masks=("", "", "", "101"))
    found = numeric_targets(data, Level.RESIDUE, Kind.MULTILABEL, letters=letters)
    assert found.classes == ("metal", "small")
    np.testing.assert_array_equal(found.train[0], [[0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(found.test[0], [[1, 1], [NAN, NAN], [1, 0]])
    data = labelled("metal metal;small -", "- - small", "- - -", "small - -")
    words = numeric_targets(data, Level.RESIDUE, Kind.MULTILABEL)
    np.testing.assert_array_equal(words.train[0], [[1, 0], [1, 1], [0, 0]])
    assert words.train[0].dtype == np.float32


def test_a_number_a_protein_and_a_residue():
    found = numeric_targets(labelled("1", "-3e0", "7", "0"), Level.SEQUENCE, Kind.REGRESSION)
    assert (found.classes, found.mean, found.scale) == ((), -1.0, 2.0)
    assert (found.train[1].item(), found.train[1].shape, found.train[1].dtype) == (
        -3.0,
        (),
        np.float32,
    )
    data = labelled("1 2 nan", "3;4;9", "0 0 0", "x 1 1", masks=("", "110", "", "011"))
    found = numeric_targets(data, Level.RESIDUE, Kind.REGRESSION)
    np.testing.assert_array_equal(found.train[0], [1, 2, NAN])
    np.testing.assert_array_equal(found.train[1], [3, 4, NAN])
    np.testing.assert_array_equal(found.test[0], [NAN, 1, 1])
    assert found.mean == 2.5
    assert found.scale == pytest.approx(np.std([1, 2, 3, 4]))


SEQUENCE, RESIDUE = Level.SEQUENCE, Level.RESIDUE
CLASSES, LABELS, NUMBERS = Kind.CLASSIFICATION, Kind.MULTILABEL, Kind.REGRESSION
UNSEEN = r"which no training example has \(a, b\)"
NUMBER = "a finite number is needed"


@pytest.mark.parametrize(
    ("targets", "level", "kind", "told"),
    [
        (("a", "b", "c", "a"), SEQUENCE, CLASSES, f"p2 has the class 'c', {UNSEEN}"),
        (("aab", "abb", "aaa", "abz"), RESIDUE, CLASSES, f"class 'z' at residue 3, {UNSEEN}"),
        (("aab", "abb", "aaa", "abé"), RESIDUE, CLASSES, "p3 has the class 'é' at residue 3"),
        (("a", "a", "b", "b"), SEQUENCE, CLASSES, "set.fasta: .* are all of the class 'a'"),
        (("aaa", "aaa", "bbb", "b"), RESIDUE, CLASSES, "set.fasta: .* all of the class 'a'"),
        (("a;b", "a", "a;c", "a"), SEQUENCE, LABELS, f"p2 has the class 'c', {UNSEEN}"),
        (("a b a", "b b b", "a b b", "a b c"), RESIDUE, LABELS, f"'c' at residue 3, {UNSEEN}"),
        (("a;b", "b;a", "a", "a"), SEQUENCE, LABELS, "set.fasta: .* the same labels: a, b"),
        (("", "", "a", "a"), SEQUENCE, LABELS, "set.fasta: .* the same labels: none"),
        (("1", "2", "nan", "1"), SEQUENCE, NUMBERS, f"p2 has the target 'nan'; {NUMBER}"),
        (("1", "inf", "2", "1"), SEQUENCE, NUMBERS, f"p1 has the target 'inf'; {NUMBER}"),
        (("1", "2", "3", "1,5"), SEQUENCE, NUMBERS, f"p3 has the target '1,5'; {NUMBER}"),
        (("3", "3", "4", "5"), SEQUENCE, NUMBERS, "set.fasta: all training targets are 3"),
        (("1 2 3", "1 x 2", "1 1 1", "1 1 1"), RESIDUE, NUMBERS, f"'x' at residue 2; {NUMBER}"),
        (("1 2 3", "1 -inf 2", "1 1 1", "1 1 1"), RESIDUE, NUMBERS, "p1 .* '-inf' at residue 2"),
        (("nan nan nan",) * 4, RESIDUE, NUMBERS, "without a residue that counts"),
    ],
)  # fmt: skip
def test_bad_targets(targets, level, kind, told):
    with pytest.raises(DataError, match=told) as caught:
        numeric_targets(labelled(*targets), level, kind)
    assert "\n" not in str(caught.value)


def test_bad_targets_of_fixed_classes():
    data = labelled("a", "b", "c", "a")
    with pytest.raises(DataError, match=r"p2 has the class 'c', which is none of the task's clas"):
        numeric_targets(data, SEQUENCE, CLASSES, classes=["a", "b"])
    data = labelled("010", "100", "001", "002")
    with pytest.raises(DataError, match=r"p3 has the class '2' at residue 3, .* letters \(0, 1\)"):
        numeric_targets(data, RESIDUE, LABELS, letters={"0": [], "1": ["x"]})
    with pytest.raises(DataError, match="without a residue that counts"):
        numeric_targets(
            labelled("ab", "ba", "a", "b", masks=("00", "00", "", "")), RESIDUE, CLASSES
        )


def test_a_line_of_a_table_is_named(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text(
        "sequence,target,set\nMKT,1,train\nMKV,2,train\nMKW,high,validation\nMKY,2,test\n"
    )
    data = read_labelled(path, level=SEQUENCE, kind=NUMBERS)
    with pytest.raises(DataError, match=r"set.csv line 4 has the target 'high'"):
        numeric_targets(data, SEQUENCE, NUMBERS)
    path.write_text(path.read_text().replace("2,train", "1,train").replace("high", "3"))
    with pytest.raises(DataError, match=r"set.csv: all training targets are 1"):
        numeric_targets(read_labelled(path, level=SEQUENCE, kind=NUMBERS), SEQUENCE, NUMBERS)


def test_all_residues_of_flip(shared_data):
    archive = shared_data / "FLIP" / "splits" / "secondary_structure"
    data = read_labelled(archive, level=RESIDUE)
    found = numeric_targets(data, RESIDUE, CLASSES, classes=["H", "C", "E"])
    assert found.classes == ("H", "C", "E")
    for part, arrays in (("train", found.train), ("test", found.test)):
        for example, classes in zip(data.parts[part], arrays, strict=True):
            letters = "".join("HCE"[c] if c != IGNORED else "-" for c in classes[:50])
            masked = zip(example.target[:50], example.mask[:50], strict=True)
            assert letters == "".join(c if m == "1" else "-" for c, m in masked)
