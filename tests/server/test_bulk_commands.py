"""``scan``, ``score``, ``contacts`` and ``fold`` as a user runs them, and their pictures."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread

from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.export import FoldSource, export_fold
from bionemo_ext.serving import LocalServer

pytestmark = pytest.mark.server

PROTEINS = {"sp|P1|ONE": "MKTVRQGLLL", "two/2": "ACDEFGHIKLMNPQRSTVWY" * 2, "x": "MK"}
NAMES, SEQUENCES = list(PROTEINS), list(PROTEINS.values())
# Packed with other neighbours, sums may round differently.
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture
def proteins(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in PROTEINS.items()))
    return path


@pytest.fixture
def ask(command, server, proteins, tmp_path):
    """Run a command on the proteins; gives its JSON summary."""

    def run(name, *words):
        done = command(name, proteins, "--url", server.url, *words, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert not list(tmp_path.glob(".*")), "parts are left"
        return json.loads(done.stdout)

    return run


def rows(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["wildtype", "masked"])
def test_scan_writes_every_substitution(ask, client, tmp_path, method):
    expected = client.scan(SEQUENCES, method)
    out = tmp_path / "x.npz"
    assert ask("scan", "--out", out, "--method", method)["residues"] == 52
    data = np.load(out)
    assert data["names"].tolist() == NAMES
    assert data["sequences"].tolist() == SEQUENCES
    assert "".join(data["amino_acids"]) == AMINO_ACIDS
    assert data["method"] == method
    assert data["offsets"].tolist() == [0, 10, 50, 52]
    np.testing.assert_allclose(data["scan"], np.concatenate(expected), **CLOSE)


def test_scan_as_tables(ask, client, tmp_path):
    expected = np.concatenate(client.scan(SEQUENCES))
    for suffix in (".csv", ".parquet"):
        out = tmp_path / f"x{suffix}"
        ask("scan", "--out", out)
        table = rows(out)
        assert [row["name"] for row in table] == [n for n, s in PROTEINS.items() for _ in s]
        assert "".join(row["residue"] for row in table) == "".join(SEQUENCES)
        assert [int(row["position"]) for row in table[8:12]] == [9, 10, 1, 2]
        found = [[float(row[letter]) for letter in AMINO_ACIDS] for row in table]
        np.testing.assert_allclose(found, expected, **CLOSE)


def test_contacts_as_maps_and_as_a_table(ask, client, tmp_path):
    expected = client.contacts(SEQUENCES)
    ask("contacts", "--out", tmp_path / "x.npz")
    maps = np.load(tmp_path / "x.npz")
    assert list(maps) == NAMES
    for name, contacts in zip(NAMES, expected, strict=True):
        np.testing.assert_allclose(maps[name], contacts, **CLOSE)

    ask("contacts", "--out", tmp_path / "x.csv", "--threshold", 0.2, "--separation", 3)
    wanted = {
        (name, i + 1, j + 1): round(float(p), 4)
        for name, contacts in zip(NAMES, expected, strict=True)
        for (i, j), p in np.ndenumerate(contacts)
        if p >= 0.2 and j - i >= 3
    }
    assert wanted
    found = {(r["name"], int(r["i"]), int(r["j"])): float(r["p"]) for r in rows(tmp_path / "x.csv")}
    assert found == pytest.approx(wanted, abs=1e-4)


VARIANTS = "M1A,M1A:K2G,K2R"


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_score_of_one_protein(command, client, server, tmp_path, suffix):
    path, out = tmp_path / "x.fasta", tmp_path / f"x{suffix}"
    path.write_text(">wild type\nMKTVRQG\n")
    words = ("score", path, "--url", server.url, "--mutants", VARIANTS, "--out", out)
    done = command(*words, "--method", "masked")
    assert (done.returncode, done.stderr) == (0, "")
    if suffix == ".json":
        text = json.loads(out.read_text())
        assert text["method"] == "masked"
        table = text["scores"]
    else:
        table = rows(out)
    assert [(row["name"], row["mutant"]) for row in table] == [
        ("wild", variant) for variant in VARIANTS.split(",")
    ]
    expected = client.score("MKTVRQG", VARIANTS.split(","), "masked")
    np.testing.assert_allclose([float(row["score"]) for row in table], expected, **CLOSE)


@pytest.fixture
def listed(tmp_path):
    """Variants of two of the proteins, more of one than a request may have."""
    long = "two/2"
    variants = [(long, f"{w}{i}{m}") for i, w in enumerate(PROTEINS[long], 1) for m in AMINO_ACIDS]
    variants = [("x", "K2A"), *variants * 13, ("x", "M1G:K2A")]
    path = tmp_path / "listed.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("mutant", "name", "DMS_score")])
        csv.writer(file).writerows((variant, name, 1.5) for name, variant in variants)
    return path


def test_score_of_a_list(ask, client, listed, tmp_path):
    summary = ask("score", "--mutants", listed, "--out", tmp_path / "x.parquet")
    assert summary["records"] == 2
    table = pq.read_table(tmp_path / "x.parquet").to_pydict()
    scan = client.scan(PROTEINS["two/2"])[0].ravel().tolist()
    (pair,) = client.score("MK", ["M1G:K2A"])
    assert table["name"] == ["two/2"] * 10_400 + ["x"] * 2
    np.testing.assert_allclose(
        table["score"], [*scan * 13, client.score("MK", ["K2A"])[0], pair], **CLOSE
    )


WRONG = {
    "wild type": ("M1A,L2A", r"variant 'L2A' of record 'sp\|P1\|ONE' has 'L' as wild type"),
    "position": ("L11A", "names position 11; the sequence has 1 to 10"),
    "letters": ("A24", "substitutions look like A24G"),
    "empty": ("M1A,", "variants look like A24G,A24G:L30P"),
    "no file": ("nothing.csv", "there is no file nothing.csv"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_variants_are_one_sentence(refusal, server, proteins, tmp_path, what):
    mutants, sentence = WRONG[what]
    words = ("--url", server.url, "--mutants", mutants, "--out", tmp_path / "x.csv")
    code, told = refusal("score", proteins, *words)
    assert code == 2
    assert re.search(sentence, told)
    assert [path.name for path in tmp_path.iterdir()] == ["proteins.fasta"]


def test_wrong_tables_are_one_sentence(refusal, server, proteins, tmp_path):
    table = tmp_path / "x.csv"
    words = ("--url", server.url, "--mutants", table, "--out", tmp_path / "y.csv")
    for text, sentence in {
        "mutations\nA1G\n": "has no column mutant; it has mutations",
        "mutant,name\nM1G,who\n": "proteins that the FASTA does not have; the first is 'who'",
        "mutant\nM1G\n \n": "line 3 has the mutant ''",
        "mutant\n": "has no rows",
    }.items():
        table.write_text(text)
        code, told = refusal("score", proteins, *words)
        assert code == 2
        assert sentence in told


def test_variants_that_do_not_fit_are_left_out_when_asked(command, server, proteins, tmp_path):
    out = tmp_path / "x.csv"
    words = ("--url", server.url, "--mutants", "K2A,T3G", "--out", out, "--skip-bad", "--json")
    done = command("score", proteins, *words)
    assert done.returncode == 0
    assert json.loads(done.stdout)["skipped"] == 3
    assert [(row["name"], row["mutant"]) for row in rows(out)] == [
        ("sp|P1|ONE", "K2A"), ("sp|P1|ONE", "T3G"), ("x", "K2A"),
    ]  # fmt: skip
    left = (tmp_path / "x.skipped.tsv").read_text()
    assert [line.split("\t")[0] for line in left.splitlines()] == [
        "name", "two/2", "two/2", "x",
    ]  # fmt: skip


def test_contacts_of_long_proteins_are_refused_and_left_out_when_asked(
    command, refusal, server, tmp_path
):
    path, out = tmp_path / "x.fasta", tmp_path / "x.npz"
    path.write_text(f">titin\n{'MKTV' * 300}\n>short\nMKT\n")
    words = ("contacts", path, "--url", server.url, "--out", out)
    assert refusal(*words) == (2, "record 'titin' has 1,200 residues, the limit is 1,022")
    assert command(*words, "--skip-bad").returncode == 0
    assert "titin\trecord 'titin' has 1,200" in (tmp_path / "x.skipped.tsv").read_text()


def test_pictures_of_one_protein_and_of_several(command, server, proteins, tmp_path):
    one = tmp_path / "one.fasta"
    one.write_text(f">one\n{SEQUENCES[1]}\n")
    commands = {
        "scan": ("scan", "--out", tmp_path / "x.npz"),
        "contacts": ("contacts", "--out", tmp_path / "x.csv"),
        "fold": ("predict", "--task", "fold", "--out", tmp_path / "x.json"),
    }
    for name, (first, *words) in commands.items():
        picture = tmp_path / f"{name}.png"
        done = command(first, one, "--url", server.url, *words, "--picture", picture)
        assert (done.returncode, done.stderr) == (0, "")
        assert min(imread(picture).shape[:2]) > 250
    folder = tmp_path / "pictures"
    done = command("scan", proteins, "--url", server.url, *words[-2:-1], tmp_path / "y.csv",
                   "--picture", folder)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == [
        "sp_P1_ONE.png", "two_2.png", "x.png",
    ]  # fmt: skip


def test_pictures_that_cannot_be_drawn_are_refused_before_work(refusal, server, proteins, tmp_path):
    words = ("--url", server.url, "--out", tmp_path / "x.csv", "--picture")
    for command_name, picture, sentence in (
        (["scan"], "x.png", "shows one protein and there are 3: name a folder"),
        (["scan"], "x.jpg", "ends in neither .png nor .svg"),
        (["contacts"], "no/x.png", "there is no folder"),
        (["predict", "--task", "place"], "x.png", "is about whole proteins, not residues"),
        (["predict", "--task", "place", "--task", "fold"], "x.png", "shows one task"),
    ):
        code, told = refusal(*command_name, proteins, *words, tmp_path / picture)
        assert code == 2
        assert sentence in told
    assert [path.name for path in tmp_path.iterdir()] == ["proteins.fasta"]


def test_an_endpoint_that_is_not_there_tells_which_are(refusal, server, proteins, tmp_path):
    code, told = refusal("fold", proteins, "--url", server.url, "--out", tmp_path / "folder")
    assert code == 2
    assert told.startswith(
        "the server has no endpoint 'esmfold'; its endpoints are: adapted, esm2_"
    )


def test_fold_makes_a_folder(command, refusal, tiny_fold_folder, tmp_path):
    export_fold(FoldSource(tiny_fold_folder, max_residues=64), tmp_path / "out")
    path, out = tmp_path / "x.fasta", tmp_path / "structures"
    path.write_text(">sp|P1|ONE\nMKTVRQG\n>sp/P1/ONE\nACDEFGHIKL\n")
    with LocalServer(tmp_path / "out" / "triton", threads=1, startup_s=120) as folding:
        words = ("fold", path, "--url", folding.url, "--out", out)
        done = command(*words, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        code, told = refusal(*words)
    assert (code, "is there already" in told) == (2, True)
    assert sorted(file.name for file in out.iterdir()) == [
        "sp_P1_ONE.json", "sp_P1_ONE.pdb", "sp_P1_ONE_2.json", "sp_P1_ONE_2.pdb",
    ]  # fmt: skip
    about = json.loads((out / "sp_P1_ONE_2.json").read_text())
    assert (about["name"], about["sequence"]) == ("sp/P1/ONE", "ACDEFGHIKL")
    assert np.shape(about["plddt"]) == (10,)
    assert np.shape(about["pae"]) == (10, 10)
    assert 0 < about["ptm"] < 1
    atoms = [line for line in (out / "sp_P1_ONE_2.pdb").read_text().splitlines() if " CA " in line]
    assert len(atoms) == 10
    np.testing.assert_allclose(
        [float(line[60:66]) for line in atoms], about["plddt"], rtol=0, atol=0.011
    )
