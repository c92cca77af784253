"""An export is whole, parses back to the contract, and refuses what could not be served."""

import json
import shutil
from pathlib import Path

import pytest

from bionemo_ext.contract import (
    HOST,
    EncoderFacts,
    Kind,
    Level,
    TaskInfo,
    contacts_endpoint,
    encoder_endpoint,
    from_pbtxt,
    logits_endpoint,
    mutation_effect_endpoint,
    task_endpoint,
)
from bionemo_ext.errors import CheckpointError, ConfigError, InputError
from bionemo_ext.export import export, templates
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import load_task
from bionemo_ext.resources import resource


@pytest.mark.parametrize("name", list(templates()))
def test_the_committed_configuration_is_the_contract(name):
    text = (resource("triton_models") / name / "config.pbtxt").read_text()
    assert from_pbtxt(text) == templates()[name]


def test_no_template_is_without_a_test():
    assert {path.name for path in resource("triton_models").iterdir()} == set(templates())


def test_an_export_holds_all_it_needs(tiny_hf_folder, make_task, tmp_path):
    out = tmp_path / "out"
    endpoints = export(tiny_hf_folder, out, [make_task()], dtype="bfloat16")
    digest = Encoder.load(tiny_hf_folder).digest
    info = TaskInfo("place", Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"))
    facts = EncoderFacts(64, 2, 1022, digest=digest, dtype="bfloat16")
    expected = [
        encoder_endpoint(facts, [info]),
        logits_endpoint(facts),
        contacts_endpoint(facts),
        mutation_effect_endpoint(facts),
        task_endpoint(info, 1022),
    ]
    assert endpoints == expected
    for endpoint in expected:
        folder = out / "triton" / endpoint.name
        assert from_pbtxt((folder / "config.pbtxt").read_text()) == endpoint
        assert "TritonPythonModel" in (folder / "1" / "model.py").read_text()
    beside = out / "triton" / HOST / "1"
    assert Encoder.load(beside / "encoder").digest == digest
    assert Encoder.load(out / "huggingface").digest == digest
    assert load_task(beside / "tasks" / "place")[0].encoder_digest == digest
    assert not [path for path in out.rglob("*") if path.is_symlink()]
    # One copy of the weights on disk, as long as it is one file system.
    weights = {path.stat().st_ino for path in out.rglob("model.safetensors")}
    assert len(weights) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "task-place"]


def test_editing_the_export_does_not_edit_the_source(tiny_hf_folder, tmp_path):
    before = (tiny_hf_folder / "config.json").read_text()
    export(tiny_hf_folder, tmp_path / "out")
    (tmp_path / "out" / "huggingface" / "config.json").write_text("{}")
    assert (tiny_hf_folder / "config.json").read_text() == before
    assert Encoder.load(tmp_path / "out" / "triton" / HOST / "1" / "encoder").hidden_size == 64


def test_an_existing_export_is_replaced_only_by_force(tiny_hf_folder, make_task, tmp_path):
    out = tmp_path / "out"
    export(tiny_hf_folder, out, [make_task()])
    with pytest.raises(InputError, match="exists; give --force to replace it or --add"):
        export(tiny_hf_folder, out)
    assert (out / "triton" / "place").is_dir()
    export(tiny_hf_folder, out, force=True)
    assert not (out / "triton" / "place").exists()
    with pytest.raises(CheckpointError):
        export(tmp_path / "nothing", out, force=True)
    assert Encoder.load(out / "huggingface").hidden_size == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "task-place"]


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def other_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 128}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, r"model\.safetensors is damaged or cut short"),
        (other_size, "has shape"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json is not JSON"),
        (shutil.rmtree, "there is no folder"),
    ],
    ids=["truncated", "other size", "no config", "no weights", "broken config", "no folder"],
)
def test_a_damaged_model_leaves_nothing_behind(tiny_hf_folder, tmp_path, damage, reason):
    source = shutil.copytree(tiny_hf_folder, tmp_path / "source")
    damage(source)
    with pytest.raises(CheckpointError, match=reason):
        export(source, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} <= {"source"}


def test_a_task_of_another_encoder_is_refused(tiny_hf_folder, make_task, tmp_path):
    with pytest.raises(CheckpointError, match=r"'place' in .* was trained on another encoder"):
        export(tiny_hf_folder, tmp_path / "out", [make_task(digest="ab" * 32)])
    assert not (tmp_path / "out").exists()


def test_tasks_need_names_of_their_own(tiny_hf_folder, make_task, tmp_path):
    with pytest.raises(ConfigError, match="'mean' cannot be the name of a task"):
        export(tiny_hf_folder, tmp_path / "out", [make_task("mean")])
    twice = [make_task(folder="one"), make_task(folder="two")]
    with pytest.raises(InputError, match="two tasks have one name: place, place"):
        export(tiny_hf_folder, tmp_path / "out", twice)
