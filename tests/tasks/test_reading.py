"""Labelled files in every shape, and one sentence for each way in which they can be wrong."""

import bz2
import gzip
import lzma
import zipfile
from contextlib import contextmanager

import pytest
from backports import zstd

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.reading import read_labelled, split_names
from bionemo_ext.tasks.tables import Columns

CSV = "sequence,target,set,validation\nMKT,1.5,train,\nMKV,2,train,True\nMKW,-3e1,test,False\n"
SEQUENCES = ">a x\nMKT\n>b\nMK\nVV\n>c\nMW\n"
LABELS = (
    ">a SET=train VALIDATION=False\nCEH\n>b SET=train VALIDATION=True\nCC\nCC\n>c SET=test\nEE\n"
)
MASK = ">a\n011\n>b\n1111\n>c\n10\n"
HEADERS = (
    ">s0 TARGET=43.3 SET=train\nMKT\n>s1 TARGET=1 SET=train VALIDATION=True\nMV\n"
    ">s2 TARGET=2 SET=test\nMW\n"
)
DEEPLOC = (
    ">P1 Cell.membrane-M\nMKT\n>P2 Cytoplasm-Nucleus-U\nMKV\n>P3 Lysosome/Vacuole-S\nMKW\n"
    ">P4 Nucleus-M test\nMKY\n>P5 Cytoplasm-S\nMKI\n"
)


def csv(tmp_path, text, name="set.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def folder(tmp_path, sequences=SEQUENCES, labels=LABELS, mask=MASK):
    for name, text in (("sequences", sequences), ("labels", labels), ("mask", mask)):
        if text is not None:
            (tmp_path / f"{name}.fasta").write_text(text)
    return tmp_path


def read(path, **given):
    return read_labelled(path, **{"level": Level.SEQUENCE, **given})


def test_csv(tmp_path):
    data = read(csv(tmp_path, CSV))
    assert data.counts == {"train": 1, "validation": 1, "test": 1}
    assert (data.train[0].sequence, data.train[0].target) == ("MKT", "1.5")
    assert (data.test[0].name, data.drawn) == ("line 4", ())
    assert data.test[0].where.endswith("set.csv line 4")


def test_a_bar_is_told(tmp_path):
    told = []

    @contextmanager
    def bar(what, total, unit):
        told.append((what, total, unit))
        yield told.append

    rows = "".join(f"MK{'A' * (i % 50)}W,{i},train\n" for i in range(1100))
    read(csv(tmp_path, f"sequence,target,set\n{rows}MKT,1,test\n"), bar=bar)
    assert told == [("reading set.csv", None, "proteins"), 500, 500]


@pytest.mark.parametrize("delimiter", ["\t", ";", ","])
def test_other_columns_delimiters_and_compression(tmp_path, delimiter):
    text = CSV.replace("sequence,target,set,validation", "protein,Tm,part,aside")
    path = tmp_path / "set.tsv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.replace(",", delimiter).encode()))
    columns = Columns("protein", "Tm", "part", "aside")
    assert read(path, columns=columns).counts == {"train": 1, "validation": 1, "test": 1}


def test_headers_and_deeploc(tmp_path):
    path = tmp_path / "set.fasta"
    path.write_text(HEADERS)
    data = read(path)
    assert [e.target for e in (*data.train, *data.validation, *data.test)] == ["43.3", "1", "2"]
    path.write_text(DEEPLOC.replace("MKT", "mktJ*A*"))
    data = read(path)
    assert (data.counts, data.drawn) == ({"train": 3, "validation": 1, "test": 1}, ("validation",))
    assert "MKTXXA" in {e.sequence for e in data.train + data.validation}


def test_deeploc_has_a_training_file_or_learns_from_the_validation_file(tmp_path):
    for name, test in (("our_val_set", False), ("test_set", True)):
        records = DEEPLOC.split(">")[1:]
        chosen = [r for r in records if ("test" in r) is test]
        (tmp_path / f"deeploc_{name}.fasta").write_text("".join(f">{r}" for r in chosen))
    data = read(tmp_path, columns=Columns(target="membrane"))
    assert (data.counts, data.unlabelled) == ({"train": 2, "validation": 1, "test": 1}, 1)
    assert data.drawn == ("validation",)
    assert {e.target for e in data.train + data.validation} == {"membrane", "soluble"}
    location = read(tmp_path)
    assert (location.counts, location.unlabelled) == ({"train": 3, "validation": 1, "test": 1}, 0)
    assert "Cytoplasm" in {e.target for e in location.train + location.validation}


def test_a_file_for_each_set(tmp_path):
    for name in ("train", "valid", "test"):
        csv(tmp_path, f"sequence,target\nMK{name[0].upper()},1\n", f"{name}.csv")
    assert read(tmp_path).counts == {"train": 1, "validation": 1, "test": 1}
    csv(tmp_path, "sequence,target,set\nMKT,1,train\n", "test.csv")
    with pytest.raises(DataError, match="is of the set train, but its file's name says test"):
        read(tmp_path)


def test_a_letter_a_residue(tmp_path):
    data = read(folder(tmp_path), level=Level.RESIDUE)
    assert (data.train[0].target, data.train[0].mask) == ("CEH", "011")
    assert (data.validation[0].sequence, data.validation[0].target) == ("MKVV", "CCCC")
    (tmp_path / "mask.fasta").rename(tmp_path / "resolved.fasta")
    assert read(tmp_path, level=Level.RESIDUE).test[0].mask == "10"
    (tmp_path / "resolved.fasta").unlink()
    assert read(tmp_path, level=Level.RESIDUE).train[0].mask == ""


def test_numbers_a_residue_stay_apart_over_lines(tmp_path):
    labels = ">a SET=train\n1 2\n-3e1\n>b SET=validation\n1;2;nan;4\n>c SET=test\n0.5 1\n"
    data = read(folder(tmp_path, labels=labels), level=Level.RESIDUE, kind=Kind.REGRESSION)
    assert data.train[0].target.split() == ["1", "2", "-3e1"]


def test_letters_are_one_word_over_lines(tmp_path):
    for kind in (Kind.CLASSIFICATION, Kind.MULTILABEL):
        data = read(folder(tmp_path), level=Level.RESIDUE, kind=kind)
        assert data.validation[0].target == "CCCC"
    labels = LABELS.replace("CC\nCC", "C C;E\n- C").replace("CEH", "C E H").replace("EE", "E E")
    data = read(folder(tmp_path, labels=labels), level=Level.RESIDUE, kind=Kind.MULTILABEL)
    assert data.validation[0].target == "C C;E - C"


def test_sequences_that_a_split_does_not_name_are_counted(tmp_path):
    text = LABELS.replace(">b SET=train VALIDATION=True\nCC\nCC\n", "")
    text += ">d SET=validation\nHHHH\n"
    data = read(folder(tmp_path, SEQUENCES + ">d\nMWWW\n", text, None), level=Level.RESIDUE)
    assert (data.counts["validation"], data.unlabelled) == (1, 1)


def test_an_archive_is_read_like_its_folder(tmp_path):
    source = folder(tmp_path)
    whole = read(source, level=Level.RESIDUE)
    with zipfile.ZipFile(tmp_path / "splits.zip", "w") as archive:
        for name in ("sequences", "labels", "mask"):
            archive.write(source / f"{name}.fasta", f"splits/{name}.fasta")
            (source / f"{name}.fasta").unlink()
        archive.writestr("splits/.DS_Store", "x")
        archive.writestr("splits/._labels.fasta", "x")
        archive.writestr("__MACOSX/splits/._labels.fasta", "x")
    # FLIP has other files beside its archive.
    csv(source, "protein,fitness\nMK,1\n", "FULL_DATA.CSV")
    for path in (source, source / "splits.zip"):
        found = read(path, level=Level.RESIDUE)
        for part, examples in whole.parts.items():
            kept = [(e.name, e.sequence, e.target, e.mask) for e in found.parts[part]]
            assert kept == [(e.name, e.sequence, e.target, e.mask) for e in examples]
        assert split_names(path) == ["labels"]
    assert not (source / "splits").exists()


def test_sets_are_drawn_by_sequence(tmp_path):
    rows = [
        f"MK{a}{b}W,{i % 7}"
        for i, (a, b) in enumerate([(a, b) for a in "ACDEFGHIKL" for b in "LMNPQ"])
    ]
    path = csv(tmp_path, "\n".join(["sequence,target", *rows, *rows]) + "\n")
    first = read(path, test_fraction=0.2)
    assert first.drawn == ("test", "validation")
    assert first.counts == {"train": 72, "validation": 8, "test": 20}
    sets = [{e.sequence for e in part} for part in first.parts.values()]
    assert len(set.union(*sets)) == sum(map(len, sets)) == 50
    path.write_text("\n".join(["sequence,target", *reversed(rows), *rows]) + "\n")
    again = read(path, test_fraction=0.2)
    assert [{e.sequence for e in part} for part in again.parts.values()] == sets
    other = read(path, test_fraction=0.2, seed=1)
    assert {e.sequence for e in other.test} != sets[2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("target", "targets"),
            r"no column 'target' but .*is it 'targets' \(task\.columns\.target=target",
        ),
        (("sequence,", "chain,"), "line 1 has no column 'sequence' but chain, target, set"),
        (("set,", "Set,"), "no column 'set' but .*is it 'Set'"),
        (("set,", "split,"), "no column 'set' but .*is it 'split'"),
        (("target,set", "target,target"), "line 1 has the column 'target' twice"),
        (("2,train", ",train"), "line 3 has no target"),
        (("2,train,True", "2,train"), "line 3 has 3 cells, its header has 4"),
        (("-3e1,test", "-3e1,training"), "line 4 has the set 'training'; train, validation or"),
        (("-3e1,test", "-3e1,"), "line 4 names no set; train, validation or test is needed"),
        (("train,True", "train,maybe"), "line 3 has the validation mark 'maybe'; True or False"),
        (("-3e1,test", "-3e1,train"), "has no test examples"),
        (("MKV", " "), "line 3 has no residues"),
        (("MKV", "MK1"), "line 3 has '1' at position 3, which is not in the ESM-2 alphabet"),
        (("MKV", "ACGT" * 12), "line 3 looks like nucleotides"),
        (("MKV", '"MKV'), "line 3 cannot be read: unexpected end of data"),
    ],
)
def test_bad_csv(tmp_path, change, told):
    path = csv(tmp_path, CSV.replace(*change))
    with pytest.raises(DataError, match=told) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"labels": LABELS.replace("CC\nCC", "CCC")}, "record b has 3 labels for 4 residues"),
        ({"labels": LABELS.replace("CEH", "CEHH")}, "record a has 4 labels for 3 residues"),
        ({"labels": LABELS + ">a SET=train\nCEH\n"}, "labels.fasta record a stands twice"),
        ({"sequences": SEQUENCES + ">a\nMKT\n"}, "sequences.fasta record a stands twice"),
        ({"mask": MASK.replace("1111", "11")}, "record b has 2 mask letters for 4 residues"),
        ({"mask": MASK.replace("1111", "1121")}, "record b has '2' in its mask"),
        ({"mask": MASK.replace(">b", ">d")}, "record b has no mask in .*mask.fasta"),
        ({"labels": LABELS.replace(">b", ">d")}, "record d has no sequence in .*sequences.fasta"),
        ({"sequences": SEQUENCES.replace("MKT", "M?T")}, "record a has '\\?' at position 2"),
        ({"labels": None}, "holds no file of labels"),
        ({"labels": "CEH"}, "labels.fasta is not a FASTA file: line 1 should begin with '>'"),
        ({"labels": ">\nCEH"}, "labels.fasta line 1 has no name"),
        ({"labels": ""}, "labels.fasta has no records"),
        ({"labels": LABELS.replace("SET=test", "")}, "record c names no set"),
        ({"labels": LABELS.replace("EE", "")}, "record c has no target"),
    ],
)
def test_bad_folder(tmp_path, files, told):
    with pytest.raises(DataError, match=told) as caught:
        read(folder(tmp_path, **files), level=Level.RESIDUE)
    assert "\n" not in str(caught.value)


def test_bad_headers(tmp_path):
    path = tmp_path / "set.fasta"
    path.write_text(HEADERS.replace("TARGET=2 ", ""))
    with pytest.raises(DataError, match="record s2 has no TARGET= in its header"):
        read(path)
    path.write_text(HEADERS.replace(">s2", ">s1"))
    with pytest.raises(DataError, match="record s1 stands twice"):
        read(path)
    path.write_bytes(b">s1 TARGET=\xff\nMK\n")
    with pytest.raises(DataError, match="is not text in UTF-8"):
        read(path)


def test_no_such_file_or_split(tmp_path):
    with pytest.raises(DataError, match="there is no data file or folder"):
        read(tmp_path / "none.fasta")
    for name in ("one", "two"):
        csv(tmp_path, CSV, f"{name}.csv")
    with pytest.raises(DataError, match=r"holds several splits, name one .*: one, two"):
        read(tmp_path)
    with pytest.raises(DataError, match="has no split 'three'; it has one, two"):
        read(tmp_path, split="three")
    with pytest.raises(DataError, match="is one file, so there is no split 'one' in it"):
        read(tmp_path / "one.csv", split="one")


def test_damaged_archives(tmp_path, shared_data):
    whole = (shared_data / "FLIP" / "splits" / "bind" / "splits.zip").read_bytes()
    path = tmp_path / "splits.zip"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"splits.zip cannot be read: .*not a zip file"):
        read(path, level=Level.RESIDUE)
    damaged = bytearray(whole)
    damaged[2000:2400] = bytes(400)
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"splits/one_vs_many.fasta cannot be read"):
        read(path, level=Level.RESIDUE, split="one_vs_many", as_published=True)
    encrypted = bytearray(whole)
    # The flag of the first file's header, here and in the directory: section 4.4.4 of the format.
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := encrypted.find(mark, at + 1)) >= 0:
            encrypted[at + offset] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(DataError, match=r"cannot be read: .*encrypted"):
        read(path, level=Level.RESIDUE, split="one_vs_many")


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd.compress)],
)
def test_every_compression_whole_and_damaged(tmp_path, ending, compress):
    rows = CSV.splitlines(keepends=True)
    packed = compress((rows[0] + "".join(rows[1:]) * 5000).encode())
    half = len(packed) // 2
    path = tmp_path / f"set.csv.{ending}"
    path.write_bytes(packed)
    assert read(path).counts == {"train": 5000, "validation": 5000, "test": 5000}
    for damaged in (packed[:half], b"sequence,target\n", packed[:half] + bytes(40) + packed[half:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"set.csv.{ending} (cannot be read|line)") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_what_only_published_files_may_have(tmp_path):
    path = csv(tmp_path, CSV + "MKY,1,,\nMKF,2,nan,\n", "split.csv")
    with pytest.raises(DataError, match="line 5 names no set"):
        read(tmp_path)
    found = read(tmp_path, as_published=True)
    assert (sum(found.counts.values()), found.unlabelled) == (3, 2)
    path.unlink()
    folder(tmp_path, labels=LABELS + ">a SET=test\nCEH\n")
    assert read(tmp_path, level=Level.RESIDUE, as_published=True).counts["test"] == 2
    folder(tmp_path, labels=LABELS + ">a SET=test\nCEE\n")
    with pytest.raises(DataError, match="record a stands twice"):
        read(tmp_path, level=Level.RESIDUE, as_published=True)


def test_flip_and_deeploc_as_published(shared_data):
    melting = read(shared_data / "flip_samples" / "meltome_100.fasta", kind=Kind.REGRESSION)
    assert sum(melting.counts.values()) == 100
    located = read(shared_data / "flip_samples" / "scl_134.fasta")
    assert sum(located.counts.values()) == 134
    membrane = read(shared_data / "deeploc", columns=Columns(target="membrane"))
    # Counted with grep: 1,678 and 2,768 proteins, of which 657 and 1,022 are neither.
    assert membrane.counts == {"train": 919, "validation": 102, "test": 1746}
    assert membrane.unlabelled == 657 + 1022
