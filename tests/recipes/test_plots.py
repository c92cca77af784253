"""Pictures of a fine-tuned task: what is drawn, and that files are whole and repeat."""

import numpy as np
import pytest
from matplotlib.image import imread

from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.errors import InputError
from bionemo_ext.recipes.finetune.plots import result_figure, save_figure, training_figure
from bionemo_ext.tasks.metrics import score


def draw(task, truth, predicted, **more):
    figure = result_figure(
        task, truth, predicted, score(task.level, task.kind, truth, predicted), **more
    )
    return figure, figure.axes[0]


def test_confusion_matrix():
    task = TaskInfo("structure", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"))
    truth = [np.array([0, 0, 0, 0, 1, -100]), np.array([1])]
    guessed = [np.array([0, 0, 0, 1, 1, 2]), np.array([1])]
    _, axes = draw(task, truth, [np.eye(3)[g] for g in guessed])
    assert axes.get_title().startswith("structure: accuracy 0.833 (95%: ")
    cells = [text.get_text() for text in axes.texts]
    assert cells[:6] == ["75%\n3", "25%\n1", "0%\n0", "0%\n0", "100%\n2", "0%\n0"]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["C  (4)", "E  (2)", "H  (0)"]


def test_many_classes_have_no_numbers_in_their_cells():
    names = tuple(f"class {i}" for i in range(20))
    task = TaskInfo("site", Level.SEQUENCE, Kind.CLASSIFICATION, names)
    _, axes = draw(task, list(np.arange(20)), list(np.eye(20)))
    assert (len(axes.texts), len(axes.get_xticklabels())) == (0, 20)


def test_truth_beside_prediction():
    task = TaskInfo("fitness", Level.SEQUENCE, Kind.REGRESSION)
    truth, predicted = [np.float32(x) for x in (1, 2, 4)], [np.float32([x]) for x in (1, 3, 2)]
    _, axes = draw(task, truth, predicted, mean=2.5)
    assert axes.get_title().startswith("fitness: Spearman 0.500")
    assert axes.collections[0].get_offsets().tolist() == [[1, 1], [2, 3], [4, 2]]
    assert list(axes.lines[1].get_ydata()) == [2.5, 2.5]
    assert axes.get_legend().get_texts()[1].get_text() == "mean predictor, 2.5"


def test_labels():
    task = TaskInfo("binding", Level.SEQUENCE, Kind.MULTILABEL, ("metal", "small", "none"))
    truth, predicted = np.float32([[1, 0, 0], [1, 1, 0]]), np.float32([[1, 0, 0], [0, 1, 0]])
    _, axes = draw(task, list(truth), list(predicted))
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([2 / 3, 1, 0])
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["0.667", "1.000", "neither there nor predicted"]
    assert axes.get_yticklabels()[0].get_text() == "metal  (2)"


def test_training_curve_marks_the_epoch_that_was_kept():
    losses = [(1, 3, 3.5), (2, 2, 2.5), (3, 1, 2.75)]
    rows = [dict(zip(("epoch", "loss", "val_loss"), row, strict=True)) for row in losses]
    axes = training_figure(rows, "fitness").axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[3, 2, 1], [3.5, 2.5, 2.75], [2.5]]
    assert axes.get_legend().get_texts()[2].get_text() == "kept: epoch 2, 2.5"


def test_files_are_whole_and_repeat(tmp_path):
    rows = [{"epoch": 1, "loss": 2.0, "val_loss": 3.0}]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for suffix in (".png", ".svg"):
            save_figure(training_figure(rows, "fitness"), tmp_path / name / f"loss{suffix}")
    assert imread(tmp_path / "one" / "loss.png").std() > 0.01
    for suffix in (".png", ".svg"):
        one, two = ((tmp_path / name / f"loss{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["loss.png", "loss.svg"]
    with pytest.raises(InputError, match="cannot be written"):
        save_figure(training_figure(rows, "fitness"), tmp_path / "none" / "loss.png")
