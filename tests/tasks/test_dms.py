"""Deep mutational scans: real ones, and what is wrong with a row."""

import numpy as np
import pytest

from bionemo_ext.contract.effects import Method
from bionemo_ext.contract.variants import Substitution, apply
from bionemo_ext.errors import DataError, InputError
from bionemo_ext.sequences.csv_table import count_reasons
from bionemo_ext.tasks.dms import read_scan, read_sequences
from bionemo_ext.tasks.variant_effects import check_variant

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


def test_the_wild_type_follows_from_variants_as_hgvs_has_them(tmp_path):
    rows = ("mutant,mutated_sequence,DMS_score", "p.(Ala2Gly),MGCDE,1", "p.Met1Val:A2C,VCCDE,2")
    scan = read_scan(write(tmp_path / "x.csv", *rows))
    assert (scan.wild, scan.names) == ("MACDE", ("p.(Ala2Gly)", "p.Met1Val:A2C"))
    assert not scan.left_out


def test_lower_case_and_a_stop_at_the_end(tmp_path):
    path = write(tmp_path / "x.csv", "mutant,mutated_sequence,target", "a102g,mgcde*,1")
    for wild in (None, "macde*"):
        scan = read_scan(path, wild, offset=100)
        assert (scan.wild, scan.variants) == ("MACDE", ((Substitution(1, "G"),),))


def test_insertions_and_deletions(tmp_path):
    path = write(tmp_path / "x.csv", "mutated_sequence,DMS_score", "MACE,1", "MACDE,2", "MACDK,3")
    scan = read_scan(path, wild="MACDE")
    assert scan.variants == ("MACE", (), (Substitution(4, "K"),))
    assert scan.names == ("MACE", "wild type", "E5K")


def test_names_of_other_kinds_go_with_a_sequence(tmp_path):
    path = write(
        tmp_path / "x.csv",
        "mutant,sequence",
        "A2G,MGCDE",
        "A2_C3insW,MAWCDE",
        "WT,MACDE",
        "A2G;D4K,MGCKE",
        "A2del,",
    )
    scan = read_scan(path)
    assert scan.names == ("A2G", "A2_C3insW", "WT", "A2G;D4K")
    assert scan.variants[1:3] == ("MAWCDE", ())
    assert scan.variants[3] == (Substitution(1, "G"), Substitution(3, "K"))
    (row,) = scan.left_out
    assert row.sentence.startswith(f"{path}, line 6: variant 'A2del' cannot be read")


# What a file says at line 3, what is told of it, and what is counted.
BAD = {
    "A2G": ("A2G is there twice; the first, of line 2, is taken", "there twice"),
    "g:A2G": ("variant 'g:A2G' cannot be read: substitutions look like A24G", "cannot be read"),
    "C2G": ("variant 'C2G' has 'C' as wild type at position 2, the", "wild type does not match"),
    "E6K": ("variant 'E6K' names position 6; the sequence has 1 to 5", "position out of range"),
    "E0K": ("variant 'E0K' names position 0; the", "position out of range"),
    "A2G;D4K": (
        "variant 'A2G;D4K' cannot be read: substitutions look like A24G and are joined by ':'",
        "cannot be read",
    ),
    "A2": ("variant 'A2' cannot be read", "cannot be read"),
    "2G": ("variant '2G' cannot be read", "cannot be read"),
    "p.Ala2del": ("variant 'p.Ala2del' cannot be read", "cannot be read"),
    "p.Ala2Gly": ("p.Ala2Gly is there twice; the first, of line 2, is taken", "there twice"),
    "A2*": ("variant 'A2*' has '*' as mutant, which is not one of the 20", "no amino acid"),
    "A2-": ("variant 'A2-' has '-' as mutant, which is not one of the 20", "no amino acid"),
    "D4B": ("variant 'D4B' has 'B' as mutant, which is not one of the 20", "no amino acid"),
    "D4X": ("variant 'D4X' has 'X' as mutant, which is not one of the 20", "no amino acid"),
    "A2C:A2G": ("variant 'A2C:A2G' names position 2 twice", "position twice"),
    '""': ("there is neither a mutant nor a sequence", "empty"),
}


@pytest.mark.parametrize(("mutant", "told"), BAD.items(), ids=BAD)
def test_a_row_that_cannot_be_scored_is_left_out(tmp_path, mutant, told):
    path = write(tmp_path / "x.csv", "mutant,target", "A2G,1", f"{mutant},2", "D4K,3")
    scan = read_scan(path, wild="MACDE")
    assert scan.names == ("A2G", "D4K")
    np.testing.assert_array_equal(scan.measured, [1, 3])
    (row,) = scan.left_out
    assert (row.line, row.reason) == (3, told[1])
    assert row.sentence.startswith(f"{path}, line 3: {told[0]}")
    assert count_reasons(scan.left_out) == {told[1]: 1}


def test_positions_are_told_as_the_file_counts_them(tmp_path):
    path = write(tmp_path / "x.csv", "mutant", "A102G", "E106K", "M1K", "C102G", "D104D")
    scan = read_scan(path, wild="MACDE", offset=100)
    assert scan.names == ("A102G", "D104D")  # a synonymous one is the wild type
    assert [row.sentence.partition(": ")[2] for row in scan.left_out] == [
        "variant 'E106K' names position 106; the sequence has 101 to 105",
        "variant 'M1K' names position 1; the sequence has 101 to 105",
        "variant 'C102G' has 'C' as wild type at position 102, the sequence has 'A'",
    ]
    assert count_reasons(scan.left_out) == {
        "position out of range": 2, "wild type does not match": 1
    }  # fmt: skip


@pytest.mark.parametrize("text", ["high", "", "nan", "NA", "inf", "1,5"])
def test_a_measurement_that_is_no_number_does_not_lose_the_score(tmp_path, text):
    path = write(tmp_path / "x.csv", "mutant,target", "A2G,1", f'D4K,"{text}"', "E5K,-2e-1")
    scan = read_scan(path, wild="MACDE")
    assert (scan.names, scan.left_out) == (("A2G", "D4K", "E5K"), ())
    np.testing.assert_array_equal(scan.measured, [1, np.nan, -0.2])
    (row,) = scan.unmeasured
    assert row.sentence == (
        f"{path}, line 3: the measurement {text!r} is not a number; D4K is scored only"
    )


def test_sequences_that_do_not_fit(tmp_path):
    path = write(
        tmp_path / "x.csv",
        "mutant,sequence,target",
        "A2G,MGCDE,1",
        "A2W,MACDE,2",
        ",MACD1,3",
        ",MACXE,4",
        ",MXX,5",
        ",mac,6",
    )
    check_masked = lambda *one: check_variant(*one, Method.MASKED, 1022)  # noqa: E731
    told = [
        "the sequence is not the wild type with A2W",
        "the sequence has '1' at position 5, which is not in the ESM-2 alphabet",
        "the sequence has 'X' at position 4, which is not one of the 20 amino acids",
    ]
    assert read_scan(path).variants == (((Substitution(1, "G"),)), "MXX", "MAC")
    scan = read_scan(path, check=check_masked)
    assert scan.names == ("A2G",)
    told += ["a sequence of 3 residues has insertions or deletions against the wild type of 5, "
             "which masked cannot score; pll can"] * 2  # fmt: skip
    for row, words in zip(scan.left_out, told, strict=True):
        assert row.sentence.startswith(f"{path}, line {row.line}: {words}")
    check_pll = lambda *one: check_variant(*one, Method.PLL, 1022)  # noqa: E731
    scan = read_scan(path, check=check_pll)
    assert scan.names == ("A2G", "MAC")
    assert scan.left_out[-1].sentence.endswith(
        "line 6: the sequence has 'X', which is not one of the 20 amino acids "
        "(ACDEFGHIKLMNPQRSTVWY)"
    )


def test_whole_sequences(tmp_path):
    path = write(
        tmp_path / "x.fasta",
        *(">sub", "MGCDE", ">bad", "MA1", ">del", "mace*", ">wt", "MACDE", ">same", "MGCDE"),
    )
    scan = read_sequences(path, "MACDE")
    assert scan.names == ("sub", "del", "wt")
    assert scan.variants == ((Substitution(1, "G"),), "MACE", ())
    assert scan.measured is None
    assert [(row.line, row.reason, row.sentence) for row in scan.left_out] == [
        (2, "no protein sequence", f"{path}: record 'bad': has '1' at position 3, which is not in "
         "the ESM-2 alphabet (LAGVSERTIDPKQNFYMHWCXBUZO.-)"),
        (5, "there twice", f"{path}: record 'same': the sequence is that of 'sub', which is taken"),
    ]  # fmt: skip
    check = lambda *one: check_variant(*one, Method.MASKED, 1022)  # noqa: E731
    assert read_sequences(path, "MACDE", check).names == ("sub", "wt")
    with pytest.raises(DataError, match=r"no variant that can be scored; .* record 'del': a seq"):
        read_sequences(write(tmp_path / "y.fasta", ">del", "MAC"), "MACDE", check)


def test_sites_that_no_window_holds_are_left_out(tmp_path):
    wild = "MACDEFGHIK" * 200
    path = write(tmp_path / "x.csv", "mutant", "M1A", "M1A:K1030A", "M1A:K1010A:K1020C", "K2000A")
    check = lambda *one: check_variant(*one, Method.MASKED, 1022)  # noqa: E731
    scan = read_scan(path, wild, check=check)
    assert scan.names == ("M1A", "M1A:K1010A:K1020C", "K2000A")
    (row,) = scan.left_out
    assert row.reason == "sites too far apart"
    assert row.sentence == (
        f"{path}, line 3: variant 'M1A:K1030A': from its first to its last site are 1,030 "
        "residues, and the model sees 1,022 at once; the wildtype method scores it"
    )


@pytest.mark.parametrize(
    "text",
    [
        "mutant,target\nA2G,1\nD4K,2\n",
        "\ufeffmutant,target\r\nA2G,1\r\n\r\nD4K,2\r\n",
        "mutant;target;note\n a2g ; 1;a,b\nd4k;2\n",
        "mutant\ttarget\nA2G\t1\nD4K\t2",
        '"mutant", "target"\n"A2G",1,more\n"D4K", 2\n'.replace(', "', ',"'),
    ],
    ids=["plain", "excel", "semicolons", "tabs", "quotes"],
)
def test_tables_as_programs_write_them(tmp_path, text):
    (tmp_path / "x.csv").write_bytes(text.encode())
    scan = read_scan(tmp_path / "x.csv", wild="MACDE")
    assert scan.variants == ((Substitution(1, "G"),), (Substitution(3, "K"),))
    np.testing.assert_array_equal(scan.measured, [1, 2])


FILES = {
    "protein,target\nMKT,1\n": "has no column mutant or sequence or mutated_sequence; it has "
    "protein, target",
    "mutant|target\nA2G|1\n": "it has mutant|target",
    "mutant,mutant\nA2G,A2G\n": "has two columns 'mutant'; rename one of them",
    "mutant,target\nA2G,1\n": "does not tell the wild type: no row has both a mutant such as",
    "mutant,sequence\nA12G,MGT\n": "position 1 the first; give the wild type, or the offset",
    "mutant,target\n": "has no rows",
    "": "is empty; a CSV file with the column mutant or sequence or mutated_sequence is needed",
    ">a\nMKT\n": "is a FASTA file; a CSV file with the column mutant",
    "mutant\xff,target\n": "cannot be read: it is not text in UTF-8",
}


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_files_that_cannot_be_scored(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as refused:
        read_scan(path)
    assert str(refused.value).startswith(f"{path} ")
    assert FILES[text] in str(refused.value)


def test_no_file_and_nothing_to_score(tmp_path):
    with pytest.raises(DataError, match=r"^there is no file .*gone\.csv$"):
        read_scan(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"cannot be read: Is a directory$"):
        read_scan(tmp_path)
    with pytest.raises(DataError, match=r"no variant that can be scored; .* line 2: variant 'A9G'"):
        read_scan(write(tmp_path / "c.csv", "mutant,target", "A9G,1"), wild="MKT")
    with pytest.raises(InputError, match=r"^the wild type has '1' at position 2"):
        read_scan(write(tmp_path / "c.csv", "mutant,target", "A9G,1"), wild="M1T")
