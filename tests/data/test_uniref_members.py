"""Every file that tells members of clusters is known by its content, and read alike."""

import gzip

import numpy as np
import pytest

from bionemo_ext.data.uniref import members
from bionemo_ext.data.uniref.encode import Source
from bionemo_ext.data.uniref.members import Shape, read_pairs, recognise
from bionemo_ext.data.uniref.names import hash_names
from bionemo_ext.errors import DataError

PAIRS = [("UniRef50_A", "UniRef90_A"), ("UniRef50_A", "UniRef90_B"), ("UniRef50_C", "UniRef90_C")]
PLAIN = [("A", "A"), ("A", "B"), ("C", "C")]
IDMAPPING = """\
P1\tUniProtKB-ID\tP1_HUMAN
P1\tUniRef100\tUniRef100_A
P1\tUniRef90\tUniRef90_A
P1\tUniRef50\tUniRef50_A
P2\tUniRef50\tUniRef50_A
P2\tUniRef90\tUniRef90_B
P4\tUniRef50\tUniRef50_Z
P5\tUniRef90\tUniRef90_Z
P5\tGene_Name\t"quoted
P3\tUniRef50\tUniRef50_C
P3\tUniRef90\tUniRef90_C
"""
SELECTED = """\
P1\tN\t\tUniRef100_A\tUniRef90_A\tUniRef50_A\t"x
P2\tN\t\tUniRef100_A\tUniRef90_B\tUniRef50_A\tx
P5\tN\t\t\t\t\t
P3\tN\t\tUniRef100_A\tUniRef90_C\tUniRef50_C\tx
"""
FILES = {
    "pairs": (
        Shape.TABLE, "UniRef50_A\tUniRef90_A\nUniRef50_A\tUniRef90_B\nUniRef50_C\tUniRef90_C\n",
    ),
    "pairs with a header": (
        Shape.TABLE,
        "UniRef50_ID\tUniRef90_ID\nUniRef50_A\tUniRef90_A\nUniRef50_A\tUniRef90_B\n"
        "UniRef50_C\tUniRef90_C\n",
    ),
    "the other way round": (
        Shape.TABLE, "UniRef90_A\tUniRef50_A\nUniRef90_B\tUniRef50_A\nUniRef90_C\tUniRef50_C",
    ),
    "a list": (Shape.TABLE, "UniRef50_A\tUniRef90_A,UniRef90_B\nUniRef50_C\tUniRef90_C\n"),
    "a list with blanks": (
        Shape.TABLE, "UniRef50_A\tUniRef90_A; UniRef90_B;\nUniRef50_C\tUniRef90_C\n",
    ),
    "ragged rows": (Shape.ROWS, "UniRef50_A\tUniRef90_A\tUniRef90_B\nUniRef50_C\tUniRef90_C\n"),
    "rows with blanks": (Shape.ROWS, "UniRef50_A UniRef90_A UniRef90_B\nUniRef50_C UniRef90_C \n"),
    "rows with a header": (
        Shape.ROWS,
        "UniRef50_ID\tUniRef90_ID\nUniRef50_A\tUniRef90_A\tUniRef90_B\nUniRef50_C\tUniRef90_C\n",
    ),
    "idmapping.dat": (Shape.ID_MAPPING, IDMAPPING),
    "idmapping_selected.tab": (Shape.TABLE, SELECTED),
    "mmseqs": (Shape.CLUSTERS, "A\tA\nA\tB\nC\tC\n"),
    "UniProt's headers": (Shape.CLUSTERS, "sp|A|A_X\tsp|A|A_X\nA\ttr|B\ntr|C|C|C\tC\n"),
    "plain lists": (Shape.ROWS, "cluster_id\tmember_ids\nA\tA,B\nC\tC\n"),
}  # fmt: skip


def read(path):
    """Shape, and numbers of clusters and members."""
    found = recognise(Source(path, lambda done: None))
    pairs = list(read_pairs(Source(path, lambda done: None), found))
    return found.shape, *(np.concatenate(column) for column in zip(*pairs, strict=True))


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", FILES)
def test_every_kind(tmp_path, kind, compress):
    shape, text = FILES[kind]
    path = tmp_path / "members.tsv"
    path.write_bytes(compress(text.encode()))
    found, clusters, of_clusters = read(path)
    expected = PLAIN if "UniRef" not in text else PAIRS
    assert found is shape
    np.testing.assert_array_equal(clusters, hash_names([c.encode() for c, _ in expected]))
    np.testing.assert_array_equal(of_clusters, hash_names([m.encode() for _, m in expected]))


@pytest.mark.parametrize("kind", FILES)
def test_rows_across_blocks(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(members, "_BLOCK", 50)
    shape, text = FILES[kind]
    header, body = "", text
    if text.lower().split("\t")[0].endswith("_id"):
        header, body = text.split("\n", 1)
        header += "\n"
    path = tmp_path / "members.tsv"
    path.write_text(header + (body.rstrip("\n") + "\n") * 30)
    found, clusters, of_clusters = read(path)
    assert (found, len(clusters), len(of_clusters)) == (shape, 90, 90)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty, but cluster members are needed"),
        ("\n\n", "is empty, but cluster members are needed"),
        ("just words\n", "its first line is 'just words'; needed is UniProt's idmapping"),
        ("UniRef50_A\tP1\tx\nUniRef50_A\tP2\ty\n", "does not tell the UniRef90 members"),
    ],
)
def test_anything_else_is_refused(tmp_path, text, sentence):
    path = tmp_path / "members.tsv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "members.tsv.gz"
    whole = "".join(f"UniRef50_A{i}\tUniRef90_A{i * 7919 % 10007}\n" for i in range(200_000))
    path.write_bytes(gzip.compress(whole.encode())[:-5000])
    with pytest.raises(DataError, match=r"members\.tsv\.gz cannot be read"):
        read(path)
