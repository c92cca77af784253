"""``scan`` with a model folder: positions as the user counts them, and the best substitutions."""

import csv
import json
import re

import numpy as np
import pytest

SEQUENCES = {"one": "MKTVRQGACDEFGHIKLMNPQRSTVWY", "two": "GGMKT"}


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(command, tiny_hf_folder, tmp_path_factory):
    """Two proteins whose first residue is number 128."""
    folder = tmp_path_factory.mktemp("scan")
    fasta = "".join(f">{name}\n{sequence}\n" for name, sequence in SEQUENCES.items())
    (folder / "x.fasta").write_text(fasta)
    ran = command(
        "scan", folder / "x.fasta", "--offline", tiny_hf_folder, "--out", folder / "x.csv",
        "--offset", 127, "--top", 4, "--picture", folder / "maps", "--json",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return folder, json.loads(ran.stdout)


def test_positions_are_the_users(done):
    folder, said = done
    assert said["out"] == [str(folder / name) for name in ("x.csv", "x.top.csv", "maps")]
    rows = read(folder / "x.csv")
    assert [(row["name"], row["position"], row["residue"]) for row in rows] == [
        (name, str(128 + i), letter)
        for name, sequence in SEQUENCES.items()
        for i, letter in enumerate(sequence)
    ]
    assert {path.name for path in (folder / "maps").iterdir()} == {"one.png", "two.png"}


def test_the_best_are_those_of_the_table(done):
    folder, _ = done
    effects = {name: {} for name in SEQUENCES}
    for row in read(folder / "x.csv"):
        for letter in "ACDEFGHIKLMNPQRSTVWY":
            if letter != row["residue"]:
                name = f"{row['residue']}{row['position']}{letter}"
                effects[row["name"]][name] = float(row[letter])
    best = read(folder / "x.top.csv")
    for name, of_one in effects.items():
        found = [(row["mutant"], float(row["score"])) for row in best if row["name"] == name]
        assert found == sorted(of_one.items(), key=lambda item: -item[1])[:4]


def test_a_long_protein_is_seen_through_windows(command, tiny_hf_folder, tmp_path):
    """Beside short ones, which the endpoint answers."""
    from bionemo_ext.inference.encoder import Encoder
    from bionemo_ext.inference.masked_model import EncoderLogits
    from bionemo_ext.tasks.variant_effects import scan

    proteins = {"short": "MKTVRQG", "long": SEQUENCES["one"] * 45, "last": "GGMKT"}
    (tmp_path / "x.fasta").write_text("".join(f">{n}\n{s}\n" for n, s in proteins.items()))
    ran = command(
        "scan", tmp_path / "x.fasta", "--offline", tiny_hf_folder, "--out", tmp_path / "x.npz",
        "--json",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["windowed"] == 1
    found = np.load(tmp_path / "x.npz")
    assert found["names"].tolist() == list(proteins)
    model = EncoderLogits(Encoder.load(tiny_hf_folder))
    expected = np.concatenate([scan(model, one) for one in proteins.values()])
    np.testing.assert_allclose(found["scan"], expected, rtol=0, atol=1e-4)


def test_a_picture_tells_method_and_positions(tmp_path):
    from bionemo_ext.client.files.pictures import draw_scan

    scan = np.random.default_rng(0).standard_normal((27, 20)).astype(np.float32)
    draw_scan(tmp_path / "x.svg", "x", SEQUENCES["one"], scan, "masked", offset=127)
    text = (tmp_path / "x.svg").read_text()
    assert "effect of every substitution by masked marginals, residues 128 to 154" in text
    numbers = [int(one) for one in re.findall(r">(\d{3})<", text)]
    assert numbers == [128, 140, 150, 154]
