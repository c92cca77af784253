"""Labelled files in FLIP's shapes, and one sentence for each way in which they can be wrong."""

import zipfile

import pytest

from bionemo_ext.errors import DataError, FastaError
from bionemo_ext.tasks.labels import read_labelled

CSV = "sequence,target,set,validation\nMKT,1.5,train,\nMKV,2,train,True\nMKW,-3e1,test,False\n"
SEQUENCES = ">a x\nMKT\n>b\nMKVV\n>c\nMW\n"
LABELS = ">a SET=train VALIDATION=False\nCEH\n>b SET=train VALIDATION=True\nCCCC\n>c SET=test\nEE\n"
MASK = ">a\n011\n>b\n1111\n>c\n10\n"
ATTRIBUTES = (
    ">s0 TARGET=43.3 SET=train\nMKT\n>s1 TARGET=1 SET=train VALIDATION=True\nMV\n"
    ">s2 TARGET=2 SET=test\nMW\n"
)


def csv(tmp_path, text):
    path = tmp_path / "set.csv"
    path.write_text(text)
    return path


def folder(tmp_path, sequences=SEQUENCES, labels=LABELS, mask=MASK):
    for name, text in (("sequences", sequences), ("labels", labels), ("mask", mask)):
        if text is not None:
            (tmp_path / f"{name}.fasta").write_text(text)
    return tmp_path


def test_csv(tmp_path):
    data = read_labelled(csv(tmp_path, CSV), residues=False)
    assert data.counts == {"train": 1, "validation": 1, "test": 1}
    assert (data.train[0].sequence, data.train[0].target) == ("MKT", "1.5")
    assert data.test[0].where.endswith("set.csv line 4")


def test_fasta_with_attributes(tmp_path):
    path = tmp_path / "set.fasta"
    path.write_text(ATTRIBUTES)
    data = read_labelled(path, residues=False)
    assert [e.target for e in (*data.train, *data.validation, *data.test)] == ["43.3", "1", "2"]


def test_a_letter_a_residue(tmp_path):
    data = read_labelled(folder(tmp_path), residues=True)
    assert (data.train[0].target, data.train[0].mask) == ("CEH", "011")
    assert data.validation[0].sequence == "MKVV"
    (tmp_path / "mask.fasta").unlink()
    assert read_labelled(tmp_path, residues=True).train[0].mask == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("target", "label"), "line 1 has no column 'target'"),
        (("2,train", ",train"), "line 3 has no target"),
        (("-3e1,test", "-3e1,training"), "line 4 has the set 'training'"),
        (("-3e1,test", "-3e1,train"), "has no test examples"),
        (("MKV", " "), "line 3' has no residues"),
        (("MKV", "ACGT" * 12), "line 3' looks like nucleotides"),
    ],
)
def test_bad_csv(tmp_path, change, told):
    with pytest.raises(DataError, match=told) as caught:
        read_labelled(csv(tmp_path, CSV.replace(*change)), residues=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"labels": LABELS.replace("CCCC", "CCC")}, "record b has 3 labels for 4 residues"),
        ({"mask": MASK.replace("1111", "11")}, "record b has 2 mask letters for 4 residues"),
        ({"labels": LABELS.replace(">b", ">d")}, "record b is missing"),
        ({"sequences": SEQUENCES.replace(">b\nMKVV\n", "")}, "record b has no sequence"),
        ({"labels": None}, "has no labels.fasta"),
        ({"labels": "CEH"}, "labels.fasta cannot be read"),
        ({"labels": LABELS.replace("SET=test", "")}, "record c has the set None"),
    ],
)
def test_bad_folder(tmp_path, files, told):
    with pytest.raises(DataError, match=told):
        read_labelled(folder(tmp_path, **files), residues=True)


def test_a_header_without_target(tmp_path):
    path = tmp_path / "set.fasta"
    path.write_text(ATTRIBUTES.replace("TARGET=2 ", ""))
    with pytest.raises(DataError, match="record s2 has no TARGET= in its header"):
        read_labelled(path, residues=False)


def test_no_such_file(tmp_path):
    with pytest.raises(FastaError, match="there is no file"):
        read_labelled(tmp_path / "none.fasta", residues=False)


def test_real_flip_files(shared_data, tmp_path):
    def unpack(task):
        archive = shared_data / "FLIP" / "splits" / task / "splits.zip"
        zipfile.ZipFile(archive).extractall(tmp_path / task)
        return tmp_path / task / "splits"

    structure = read_labelled(unpack("secondary_structure"), residues=True, split="sampled")
    assert structure.counts == {"train": 9712, "validation": 1080, "test": 648}
    assert {c for e in structure.train for c in e.target} == set("CEH")
    assert {len(e.mask) == len(e.sequence) for e in structure.test} == {True}
    gb1 = read_labelled(unpack("gb1") / "sampled.csv", residues=False)
    assert gb1.counts == {"train": 6289, "validation": 699, "test": 1745}
    melting = read_labelled(shared_data / "flip_samples" / "meltome_100.fasta", residues=False)
    assert sum(melting.counts.values()) == 100
