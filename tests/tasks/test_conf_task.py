"""Every file of conf/task: its launch command composes, and its data are read as it says."""

import pytest

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import ConfigError
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.finetune.settings import FinetuneSettings, TaskSettings
from bionemo_ext.resources import resource
from bionemo_ext.tasks.catalogue import TASKS
from bionemo_ext.tasks.loading import load
from bionemo_ext.tasks.targets import Targets, numeric_targets

FILES = sorted(resource("conf").glob("task/*.yaml"))


def settings(*words) -> TaskSettings:
    return compose("finetune", ["encoder=e", "out=o", *words], FinetuneSettings).task


def targets(task: TaskSettings, root) -> Targets:
    data = load(
        task.data, root, level=task.level, kind=task.kind, split=task.split, columns=task.columns
    )
    return numeric_targets(data, task.level, task.kind, classes=task.classes, letters=task.letters)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_first_line_is_a_command_that_composes(file):
    command = file.read_text().splitlines()[0].removeprefix("# ").split()
    assert command[:2] == ["bionemo-ext", "finetune"]
    task = compose("finetune", command[2:], FinetuneSettings).task
    assert task.name == file.stem
    if task.data.startswith("flip:"):
        flip = TASKS[task.data.removeprefix("flip:")]
        split = flip.splits[task.split]
        assert (task.level, task.split) == (flip.level, flip.default)
        assert task.kind is (split.kind or flip.kind) or task.letters


def test_data_of_your_own_must_be_given():
    with pytest.raises(ConfigError, match=r"task.data must be given"):
        settings("task=protein_class")


@pytest.mark.parametrize("split", TASKS["bind"].splits)
def test_bind_as_classes_and_as_ligands(shared_data, split):
    root = shared_data / "FLIP"
    classes = targets(settings("task=bind", f"task.split={split}"), root)
    ligands = targets(settings("task=bind_ligands", f"task.split={split}"), root)
    assert ligands.classes == ("metal", "nucleic", "small")
    for number, bits in zip(classes.test, ligands.test, strict=True):
        assert (bits @ [1, 2, 4] == number).all()


def test_deeploc(shared_data):
    task = settings("task=deeploc_membrane", f"task.data={shared_data / 'deeploc'}")
    found = targets(task, shared_data)
    assert found.classes == ("membrane", "soluble")
    # grep -c of -M and -S among the 2,768 test proteins.
    assert [sum(int(t) == c for t in found.test) for c in (0, 1)] == [743, 1003]


def test_protein_classes_and_binding_sites_of_ones_own(tmp_path):
    kinds = ("enzyme", "receptor", "structural")
    rows = [f"MK{a}{b},{kinds[i % 3]}" for i, a in enumerate("ACDEFGHIKL") for b in "WY"]
    path = tmp_path / "proteins.csv"
    path.write_text("\n".join(["sequence,target", *rows]))
    found = targets(settings("task=protein_class", f"task.data={path}"), tmp_path)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [16, 2, 2]
    rows = [f"MK{a}{b},0{i % 2}10" for i, a in enumerate("ACDEFGHIKL") for b in "WY"]
    path.write_text("\n".join(["sequence,target", *rows]))
    task = settings("task=binding_site", f"task.data={path}")
    assert (task.level, task.kind) == (Level.RESIDUE, Kind.CLASSIFICATION)
    assert targets(task, tmp_path).train[0].tolist()[2:] == [1, 0]


def test_the_task_of_the_docs(tmp_path, monkeypatch):
    docs = (resource("conf").parent / "docs" / "flip.md").read_text()
    (tmp_path / "solubility.yaml").write_text(docs.split("```yaml\n")[1].split("```")[0])
    rows = ["MKA,1,train", "MKC,2,train", "MKD,3,validation", "MKE,4,test"]
    (tmp_path / "solubility.csv").write_text("\n".join(["protein,percent,part", *rows]))
    monkeypatch.chdir(tmp_path)
    found = targets(settings("task=solubility.yaml"), tmp_path)
    assert (found.mean, found.test[0].item()) == (1.5, 4.0)
