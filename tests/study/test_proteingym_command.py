"""``bionemo-ext proteingym`` over a folder laid out as the benchmark's, of real scans."""

import csv
import json

import pytest

from bionemo_ext.tasks.dms import read_scan

SCANS = {
    "IF1_ECOLI": ("P69222", "OrganismalFitness"),
    "SUMO1_HUMAN_Roth2017": ("P63165", "OrganismalFitness"),
    "YAP1_HUMAN_Fields2012_singles": ("P46937", "Binding"),
}


@pytest.fixture(scope="module")
def benchmark(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gym")
    rows = []
    for name, (protein, selection) in SCANS.items():
        path = shared_data / "dms" / f"{name}.csv"
        lines = path.read_text().splitlines()
        (folder / f"{name}.csv").write_text("\n".join(lines[:41]) + "\n")
        rows.append((name, f"{name}.csv", protein, selection, read_scan(path).wild))
    rows.append(("GONE", "gone.csv", "P1", "Activity", "MKT"))
    with (folder / "reference.txt").open("w", newline="") as file:
        writer = csv.writer(file)
        columns = ("DMS_id", "DMS_filename", "UniProt_ID", "coarse_selection_type", "target_seq")
        writer.writerows([columns, *rows])
    return folder


def test_every_scan_is_scored_and_averaged(command, benchmark, tiny_hf_folder, tmp_path):
    words = (
        "proteingym", benchmark, "--reference", benchmark / "reference.txt", "--offline",
        tiny_hf_folder, "--method", "wildtype", "--out", tmp_path / "out",
    )  # fmt: skip
    done = command(*words, "--json")
    assert done.returncode == 0
    assert done.stderr == f"not in {benchmark}: 1 scans, the first GONE\n"
    found = json.loads(done.stdout)
    rho = {name: one["metrics"]["spearman"]["value"] for name, one in found["scans"].items()}
    assert set(rho) == set(SCANS)
    fitness = (rho["IF1_ECOLI"] + rho["SUMO1_HUMAN_Roth2017"]) / 2
    binding = rho["YAP1_HUMAN_Fields2012_singles"]
    assert found["averages"]["spearman"] == pytest.approx(
        {"Binding": binding, "OrganismalFitness": fitness, "Average": (binding + fitness) / 2}
    )
    errors = found["standard_errors"]["spearman"]
    (one, other) = (rho[name] for name in ("IF1_ECOLI", "SUMO1_HUMAN_Roth2017"))
    assert errors == pytest.approx(
        {"Binding": None, "OrganismalFitness": abs(one - other) / 8**0.5, "Average": None}
    )
    assert json.loads((tmp_path / "out" / "averages.json").read_text()) == {
        name: found[name] for name in ("averages", "standard_errors")
    }
    results = sorted((tmp_path / "out" / "scans").iterdir())
    times = [path.stat().st_mtime_ns for path in results]
    again = command(*words)
    assert again.returncode == 0
    assert again.stdout.endswith("\n3 scans, 120 variants, 0 left out\n")
    assert times == [path.stat().st_mtime_ns for path in results]


def test_a_scan_that_cannot_be_scored_does_not_lose_the_rest(
    command, benchmark, tiny_hf_folder, tmp_path
):
    (benchmark / "gone.csv").write_text("mutant,DMS_score\nA1G,1\n")
    odd = benchmark / "IF1_ECOLI.csv"
    before = odd.read_text()
    odd.write_text(before + "40,,A1G,1,\n41,,,2,MKT\n")
    done = command(
        "proteingym", benchmark, "--reference", benchmark / "reference.txt", "--offline",
        tiny_hf_folder, "--method", "wildtype", "--out", tmp_path / "out",
    )  # fmt: skip
    (benchmark / "gone.csv").unlink()
    odd.write_text(before)
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert told[0].startswith(f"left out: GONE: {benchmark / 'gone.csv'} has no variant that can")
    assert told[1] == "bionemo-ext: 1 of 4 scans could not be scored"
    assert done.stdout.endswith("\n3 scans, 120 variants, 2 left out\n")
    scan = json.loads((tmp_path / "out" / "scans" / "IF1_ECOLI.json").read_text())
    assert scan["reasons"] == {"wild type does not match": 1, "insertions or deletions": 1}
