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


def test_an_export_can_be_read_by_another_user(tiny_hf_folder, make_task, tmp_path):
    """Such as the one that a container runs as; the source may be its owner's alone."""
    source = shutil.copytree(tiny_hf_folder, tmp_path / "source")
    tasks = [make_task()]
    for path in (source, *tasks):
        for file in path.rglob("*"):
            file.chmod(0o600)
    export(source, tmp_path / "out", tasks=tasks)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files)
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in source.iterdir())


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


def listed(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_second_model_joins_the_first(tiny_hf_folder, random_esm2, make_task, tmp_path):
    out = tmp_path / "out"
    export(tiny_hf_folder, out, [make_task()])
    before = listed(out)
    random_esm2(tmp_path / "small", layers=1, hidden=32, heads=2)
    added = export(tmp_path / "small", out, name="esm2_small", instances=2, add=True)
    names = [f"esm2_small_{what}" for what in ("embed", "logits", "contacts", "mutation_effect")]
    assert [endpoint.name for endpoint in added] == names
    assert added[0].instances == 2
    assert {endpoint.host for endpoint in added} == {"esm2_small_embed"}
    after = listed(out)
    assert before.items() <= after.items()
    assert Encoder.load(out / "huggingface-esm2_small").hidden_size == 32
    for endpoint in added:
        text = (out / "triton" / endpoint.name / "config.pbtxt").read_text()
        assert from_pbtxt(text) == endpoint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "small", "task-place"]


def test_what_cannot_be_added_leaves_all_as_it_was(tiny_hf_folder, make_task, tmp_path):
    out = tmp_path / "out"
    export(tiny_hf_folder, out, [make_task()])
    before = listed(out)
    with pytest.raises(InputError, match="would have two endpoints 'esm2_embed'; give the model"):
        export(tiny_hf_folder, out, add=True)
    with pytest.raises(InputError, match="would have two endpoints 'place'"):
        export(tiny_hf_folder, out, [make_task()], name="other", add=True)
    with pytest.raises(CheckpointError, match="there is no folder"):
        export(tmp_path / "nothing", out, name="other", add=True)
    with pytest.raises(ConfigError, match="'8m' cannot be the name of a model"):
        export(tiny_hf_folder, out, name="8m", add=True)
    with pytest.raises(InputError, match="--add keeps what is there and --force replaces it"):
        export(tiny_hf_folder, out, name="other", add=True, force=True)
    with pytest.raises(InputError, match="is not an export to add to"):
        export(tiny_hf_folder, tmp_path / "elsewhere", name="other", add=True)
    assert listed(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "task-place"]


def test_an_export_that_was_killed_while_it_took_its_place_is_found_again(tiny_hf_folder, tmp_path):
    out = tmp_path / "out"
    export(tiny_hf_folder, out)
    out.rename(tmp_path / ".out.old")  # as after the first of its two renames
    export(tiny_hf_folder, out, name="other", add=True)
    names = {path.parent.name for path in (out / "triton").glob("*/config.pbtxt")}
    assert {"esm2_embed", "other_embed"} <= names
