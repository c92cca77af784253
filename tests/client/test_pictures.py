"""Pictures show the numbers they are given, at any length, and are whole or not there."""

import numpy as np
import pytest
from matplotlib.image import imread

from bionemo_ext.client import Prediction
from bionemo_ext.client.files.pictures import check_picture, draw_contacts, draw_scan, draw_track
from bionemo_ext.contract import AMINO_ACIDS, Kind, Level, TaskInfo
from bionemo_ext.errors import InputError

STRUCTURE = TaskInfo("structure", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"))
TASKS = (
    STRUCTURE,
    TaskInfo("conservation", Level.RESIDUE, Kind.CLASSIFICATION, tuple("012345678")),
    TaskInfo("many", Level.RESIDUE, Kind.CLASSIFICATION, tuple(f"class {i}" for i in range(12))),
    TaskInfo("sites", Level.RESIDUE, Kind.MULTILABEL, ("metal", "small")),
    TaskInfo("flexibility", Level.RESIDUE, Kind.REGRESSION),
)


def sequence(length):
    return "".join(np.random.default_rng(length).choice(list(AMINO_ACIDS), length))


def random(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def near(pixel, colour):
    return np.allclose(pixel[:3], colour, rtol=0, atol=0.02)


@pytest.mark.parametrize("length", [1, 100, 201])
def test_every_length_is_drawn(tmp_path, length):
    draw_scan(tmp_path / "scan.png", "x", sequence(length), -random(length, 20))
    draw_contacts(tmp_path / "contacts.png", "x", random(length, length))
    shapes = [imread(path).shape[:2] for path in sorted(tmp_path.iterdir())]
    assert shapes[0] == (1035, 1095)
    rows = -(-length // 100)
    assert shapes[1][0] == pytest.approx(150 * (0.75 + 3.45 * rows), abs=2)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("length", [1, 230])
def test_every_kind_of_task_is_drawn(tmp_path, task, length):
    values = random(length, task.outputs)
    if task.kind is Kind.CLASSIFICATION:
        values /= values.sum(axis=1, keepdims=True)
    draw_track(tmp_path / "x.png", Prediction("x", sequence(length), task, values))
    assert imread(tmp_path / "x.png").shape[0] > 150


def test_a_contact_is_where_its_residues_are(tmp_path):
    contacts = np.zeros((40, 40), dtype=np.float32)
    contacts[9, 29] = 1
    draw_contacts(tmp_path / "x.png", "x", contacts)
    image = imread(tmp_path / "x.png")
    left, top, side = 0.75 * 150, 0.9 * 150, 5.4 * 150
    blue = (image[..., 2] - image[..., 0] > 0.3) & (image[..., 1] < 0.3)
    blue[:, 925:] = False  # the colour bar
    row, column = np.median(np.argwhere(blue), axis=0)
    assert (row - top) / side * 40 == pytest.approx(9.5, abs=0.6)
    assert (column - left) / side * 40 == pytest.approx(29.5, abs=0.6)


def test_every_residue_of_a_long_chain_has_its_points(tmp_path):
    contacts = np.zeros((1000, 1000), dtype=np.float32)
    contacts[range(0, 1000, 50), range(999, 0, -50)] = 1
    draw_contacts(tmp_path / "x.png", "x", contacts)
    image = imread(tmp_path / "x.png")
    blue = (image[..., 2] - image[..., 0] > 0.3) & (image[..., 1] < 0.3)
    rows = np.unique(np.argwhere(blue[:, : 115 + 2000])[:, 0])
    assert 1 + (np.diff(rows) > 50).sum() == 20


def test_worse_is_red_better_is_blue_and_nothing_is_white(tmp_path):
    scan = np.zeros((3, 20), dtype=np.float32)
    scan[0], scan[2] = -5, 5
    draw_scan(tmp_path / "x.png", "x", "AAA", scan)
    image = imread(tmp_path / "x.png")
    middle = image[len(image) // 2]
    left, span = int(0.75 * 150), int(3.2 * 150)
    worse, same, better = (middle[left + int(span * share)] for share in (1 / 6, 1 / 2, 5 / 6))
    assert near(worse, (0.404, 0, 0.122))
    assert near(better, (0.02, 0.188, 0.38))
    assert min(same[:3]) > 0.95


def test_the_svg_has_the_letters_and_is_the_same_each_time(tmp_path):
    values = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    prediction = Prediction("sp|P1|$x$", "MKTV", STRUCTURE, values)
    for name in ("a.svg", "b.svg"):
        draw_track(tmp_path / name, prediction)
    text = (tmp_path / "a.svg").read_text()
    for words in ("sp|P1|$x$", "structure, 4 residues", "M", "K", "T", "V", "probability"):
        assert f">{words}</text>" in text
    assert text == (tmp_path / "b.svg").read_text()
    for colour in ("#d0d0d0", "#e69f00", "#0072b2"):
        assert f"fill: {colour}" in text


WRONG = {
    "x.png": (2, "shows one protein and there are 2"),
    "x.svg": (None, "standard input may have several"),
    "x.pdf": (1, "ends in neither .png nor .svg"),
    "no/x.png": (1, "there is no folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_drawn_is_refused_early(tmp_path, name):
    records, reason = WRONG[name]
    with pytest.raises(InputError, match=reason):
        check_picture(tmp_path / name, records)


def test_a_folder_takes_any_number(tmp_path):
    for records in (None, 1, 2):
        check_picture(tmp_path / "pictures", records)
