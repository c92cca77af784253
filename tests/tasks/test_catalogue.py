"""FLIP's own archives: every count, and every release told from the other."""

from zipfile import ZipFile

import pytest

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import ConfigError, DataError
from bionemo_ext.tasks.catalogue import TASKS
from bionemo_ext.tasks.loading import load, locate

# facts.md, section 5, and the archives counted with grep -c.
COUNTS = {
    ("secondary_structure", "sampled"): (9712, 1080, 648),
    ("conservation", "sampled"): (9392, 555, 519),
    ("gb1", "sampled"): (6289, 699, 1745),
    ("gb1", "one_vs_rest"): (25, 3, 8705),
    ("gb1", "two_vs_rest"): (381, 43, 8309),
    ("gb1", "three_vs_rest"): (2691, 299, 5743),
    ("gb1", "low_vs_high"): (4580, 509, 3644),
    ("bind", "from_publication"): (954, 106, 300),
    ("bind", "one_vs_many"): (996, 114, 250),
    ("bind", "two_vs_many"): (1201, 140, 19),
    ("bind", "one_vs_sm"): (999, 111, 134),
    ("bind", "one_vs_mn"): (254, 31, 32),
    ("bind", "one_vs_sn"): (254, 31, 53),
}


def flip(shared_data, name, **given):
    task = TASKS[name]
    return load(f"flip:{name}", shared_data / "FLIP", level=task.level, kind=task.kind, **given)


@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_every_split_that_is_at_hand(shared_data, name, split):
    found = flip(shared_data, name, split=split)
    assert tuple(found.counts.values()) == COUNTS[name, split]
    assert found.drawn == ()


def test_the_usual_split_is_taken(shared_data):
    assert flip(shared_data, "bind").counts["test"] == 300
    assert {task.default in task.splits for task in TASKS.values()} == {True}


def test_the_other_release_is_named(shared_data, tmp_path):
    with pytest.raises(DataError) as caught:
        flip(shared_data, "secondary_structure", release="current")
    told = "has 9712 train, 1080 validation, 648 test, but FLIP's secondary_structure of the"
    assert told in str(caught.value)
    assert "364 test; this is the release '2022', use task.release=2022" in str(caught.value)
    later = shared_data / "FLIP" / "splits" / "secondary_structure" / "splits_head_test364.zip"
    (tmp_path / "secondary_structure").mkdir()
    (tmp_path / "secondary_structure" / "splits.zip").symlink_to(later)
    given = {"level": Level.RESIDUE, "kind": Kind.CLASSIFICATION}
    with pytest.raises(
        DataError, match=r"this is the release 'current', use task\.release=current"
    ):
        load("flip:secondary_structure", tmp_path, **given)
    found = load("flip:secondary_structure", tmp_path, release="current", **given)
    assert found.counts["test"] == 364


def test_a_changed_archive_is_refused(shared_data, tmp_path):
    # The right file with one protein taken out.
    with ZipFile(shared_data / "FLIP" / "splits" / "gb1" / "splits.zip") as archive:
        rows = archive.read("splits/sampled.csv").decode().splitlines(keepends=True)
    (tmp_path / "gb1").mkdir()
    (tmp_path / "gb1" / "sampled.csv").write_text("".join(rows[:1] + rows[2:]))
    with pytest.raises(DataError, match=r"6288 train, .* but FLIP's gb1 .* has 6289 train") as told:
        load("flip:gb1", tmp_path, level=Level.SEQUENCE, kind=Kind.REGRESSION, split="sampled")
    assert str(told.value).endswith("to take it all the same, use task.release=any")
    given = {"level": Level.SEQUENCE, "kind": Kind.REGRESSION, "split": "sampled"}
    assert load("flip:gb1", tmp_path, release="any", **given).counts["train"] == 6288


def test_what_is_refused(shared_data, tmp_path):
    with pytest.raises(ConfigError, match=r"FLIP has no task 'gb2'; it has secondary_structure, "):
        locate("flip:gb2", tmp_path)
    with pytest.raises(DataError, match="get it with 'bionemo-ext flip download aav --data"):
        locate("flip:aav", tmp_path)
    with pytest.raises(ConfigError, match="has no release '2021'; it has 2022, current, any"):
        flip(shared_data, "secondary_structure", release="2021")
    with pytest.raises(ConfigError, match="FLIP's gb1 has level: sequence, not residue"):
        load("flip:gb1", shared_data / "FLIP", level=Level.RESIDUE, kind=Kind.REGRESSION)
    with pytest.raises(ConfigError, match="FLIP's gb1 split sampled has kind: regression, not cl"):
        load(
            "flip:gb1",
            shared_data / "FLIP",
            level=Level.SEQUENCE,
            kind=Kind.CLASSIFICATION,
            split="sampled",
        )
    with pytest.raises(DataError, match="has no split 'four'; it has low_vs_high, one_vs_rest"):
        flip(shared_data, "gb1", split="four")
    with pytest.raises(ConfigError, match="release=2022 is for FLIP's tasks"):
        load("capsid.csv", tmp_path, level=Level.SEQUENCE, kind=Kind.CLASSIFICATION, release="2022")


def test_any_other_data(tmp_path):
    given = {"level": Level.SEQUENCE, "kind": Kind.CLASSIFICATION}
    assert load("capsid.csv", tmp_path, **given).counts["train"] == 700
