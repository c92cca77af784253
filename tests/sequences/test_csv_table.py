"""Tables are read however a program wrote them."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.errors import DataError
from bionemo_ext.sequences.csv_table import LeftOut, count_reasons, read_table

cells = st.text("ACDE 1.5:;,\t\"'", max_size=6)


@given(
    st.lists(st.tuples(cells, cells), max_size=5),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_was_written_is_read(tmp_path_factory, rows, delimiter, end, mark):
    text = io.StringIO()
    table = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    table.writerows([("mutant", "target"), *rows])
    path = tmp_path_factory.mktemp("table") / "x.csv"
    path.write_bytes(text.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    found = list(read_table(path, ("mutant",), ("DMS_score", "target")))
    assert [line for line, _ in found] == list(range(2, len(rows) + 2))
    assert [tuple(row.values()) for _, row in found] == [
        tuple(cell.strip() for cell in row) for row in rows
    ]


def test_short_and_long_rows(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1\n\n1,2,3\n")
    assert list(read_table(path, ("a",))) == [(2, {"a": "1", "b": ""}), (4, {"a": "1", "b": "2"})]


def test_each_kind_of_column_is_needed(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("sequence,y\nMKT,1\n")
    with pytest.raises(DataError, match=r"has no column target or DMS_score; it has sequence, y$"):
        list(read_table(path, ("sequence",), ("target", "DMS_score")))


def test_reasons_are_counted_the_most_frequent_first():
    rows = [LeftOut(line, "", reason) for line, reason in enumerate(["b", "a", "a", "c", "a", "b"])]
    assert list(count_reasons(rows).items()) == [("a", 3), ("b", 2), ("c", 1)]
