"""Deep mutational scans: real ones, and what is wrong with a row."""

import numpy as np
import pytest

from bionemo_ext.contract.variants import Substitution
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.dms import read_scan
from bionemo_ext.tasks.variant_effects import apply

COUNTS = {
    "BLAT_ECOLX_Tenaillon2013": 989,
    "IF1_ECOLI": 1439,
    "SUMO1_HUMAN_Roth2017": 1801,
    "YAP1_HUMAN_Fields2012_singles": 362,
}


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", COUNTS)
def test_real_scans(shared_data, name):
    import csv

    path = shared_data / "dms" / f"{name}.csv"
    scan = read_scan(path)
    assert scan.left_out == ()
    assert len(scan.variants) == len(scan.measured) == COUNTS[name]
    assert scan.fit is None
    with path.open() as file:
        for row, variant, number in zip(
            csv.DictReader(file), scan.variants, scan.measured, strict=True
        ):
            assert apply(scan.wild, variant) == row["sequence"]
            assert number == float(row["target"])


def test_proteingym_with_several_substitutions_and_an_offset(tmp_path):
    path = write(
        tmp_path / "x.csv",
        "mutant,mutated_sequence,DMS_score,DMS_score_bin",
        "A102G:C103W,MGWDE,1.5,1",
        "E105K,MACDK,-0.5,0",
    )
    scan = read_scan(path, offset=100)
    assert scan.wild == "MACDE"
    assert scan.variants[0] == (Substitution(1, "G"), Substitution(2, "W"))
    np.testing.assert_array_equal(scan.measured, [1.5, -0.5])
    np.testing.assert_array_equal(scan.fit, [True, False])


def test_lower_case_and_a_stop_at_the_end(tmp_path):
    path = write(tmp_path / "x.csv", "mutant,mutated_sequence,target", "a102g,mgcde*,1")
    for wild in (None, "macde*"):
        scan = read_scan(path, wild, offset=100)
        assert (scan.wild, scan.variants) == ("MACDE", ((Substitution(1, "G"),),))


def test_insertions_and_deletions(tmp_path):
    path = write(tmp_path / "x.csv", "mutated_sequence,DMS_score", "MACE,1", "MACDE,2", "MACDK,3")
    scan = read_scan(path, wild="MACDE")
    assert scan.variants == ("MACE", (), (Substitution(4, "K"),))
    assert scan.names == ("4 residues", "wild type", "E5K")


def test_rows_that_cannot_be_scored_are_left_out(tmp_path):
    path = write(
        tmp_path / "x.csv",
        "mutant,target",
        "A2G,1",
        "C2G,1",
        "E6K,1",
        "A2G,3",
        "A2G;D4K,1",
        "D4K,high",
        "D4B,1",
        "D4K,2",
    )
    scan = read_scan(path, wild="MACDE")
    assert scan.names == ("A2G", "D4K")
    expected = [
        "line 3: variant 'C2G' of record 'wild type' has 'C' as wild type at position 2, the",
        "line 4: variant 'E6K' of record 'wild type' names position 6; the sequence has 1 to 5",
        "line 5: A2G is there twice; the first is taken",
        "line 6: variant 'A2G;D4K' of record 'wild type' cannot be read",
        "line 7: the measurement 'high' is not a number",
        "line 8: variant 'D4B' of record 'wild type' has 'B' as mutant",
    ]
    assert len(scan.left_out) == len(expected)
    for told, words in zip(scan.left_out, expected, strict=True):
        assert told.startswith(f"{path}, {words}")


def test_files_that_cannot_be_scored(tmp_path):
    with pytest.raises(DataError, match="has no column mutant or sequence or mutated_sequence"):
        read_scan(write(tmp_path / "a.csv", "protein,target", "MKT,1"))
    with pytest.raises(DataError, match="does not tell the wild type"):
        read_scan(write(tmp_path / "b.csv", "mutant,target", "A2G,1"))
    with pytest.raises(DataError, match=r"no variant that can be scored; .* line 2: variant 'A9G'"):
        read_scan(write(tmp_path / "c.csv", "mutant,target", "A9G,1"), wild="MKT")
    with pytest.raises(DataError, match="has no rows"):
        read_scan(write(tmp_path / "d.csv", "mutant,target"))
