"""``bionemo-ext convert`` as a user gives it: what it recognises, says, replaces and refuses."""

import json

import pytest
import yaml
from safetensors.torch import load_file

from bionemo_ext.errors import CheckpointError, InputError
from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.recipes.conversion import Form, convert, read_any


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_hf_folder):
    """A run's folder with one checkpoint, as training leaves it."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    step = run / "checkpoints" / "step-00000004"
    convert(tiny_hf_folder, step, Form.NEMO)
    (step / "model.yaml").unlink()
    (run / "checkpoints" / "best").symlink_to(step.name)
    model = {"name": "tiny", "family": "esm2", "layers": 2, "hidden": 64, "heads": 4, "ffn": 0}
    model |= {"max_positions": 1024, "dropout": 0.0, "implementation": "local"}
    (run / "run.yaml").write_text(yaml.safe_dump({"model": model, "steps": 4}))
    return run


def test_the_command_tells_what_it_wrote(tmp_path, command, tiny_hf_folder):
    done = command("convert", tiny_hf_folder, tmp_path / "nemo", "--to", "nemo")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == (
        f"wrote {tmp_path / 'nemo'} (nemo) from huggingface: esm2, 106,538 parameters in float32, "
        "up to 1,022 residues\n"
    )
    done = command("convert", tmp_path / "nemo", tmp_path / "esm2_x.pt", "--to=fair-esm", "--json")
    summary = json.loads(done.stdout)
    assert summary["source"] == "nemo"
    assert summary["form"] == "fair-esm"
    assert summary["parameters"] == 106_538
    assert summary["dtype"] == "float32"


@pytest.mark.parametrize("name", ["", "checkpoints/step-00000004", "checkpoints/best"])
def test_a_run_and_its_checkpoints_are_sources(tmp_path, run, tiny_hf_folder, name):
    done = convert(run / name, tmp_path / "hf", Form.HUGGINGFACE)
    assert done.source is Form.NEMO
    before, after = (load_file(f / "model.safetensors") for f in (tiny_hf_folder, tmp_path / "hf"))
    assert before.keys() == after.keys()
    assert all((tensor == after[name]).all() for name, tensor in before.items())


def test_an_exported_folder_is_a_source(tmp_path, tiny_hf_folder):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "huggingface").symlink_to(tiny_hf_folder)
    config, _ = read_any(tmp_path / "export")
    assert config == ESM2Config(2, 64, 4, max_positions=config.max_positions)


def test_a_published_model_without_a_network_is_one_sentence(tmp_path, monkeypatch, refusal):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    code, sentence = refusal("convert", "facebook/esm2_t6_8M_UR50D", tmp_path / "out")
    assert code == 1
    assert sentence.startswith("facebook/esm2_t6_8M_UR50D is not in the Hugging Face cache")


def test_a_published_model_comes_from_the_cache(tmp_path, monkeypatch, tiny_hf_folder):
    import huggingface_hub.constants

    folder = tmp_path / "models--facebook--esm2_t6_8M_UR50D"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    for file in tiny_hf_folder.iterdir():
        (folder / "snapshots" / "abc" / file.name).symlink_to(file)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    config, state = read_any("facebook/esm2_t6_8M_UR50D")
    assert (config.layers, config.hidden) == (2, 64)
    assert state["lm_head.dense.weight"].shape == (64, 64)


def test_wrong_sources_are_one_sentence(tmp_path, tiny_hf_folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.txt").write_text("dear reader")
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.yaml").write_text("steps: 4\n")
    wrong = {
        "runs/nowhere": "there is no runs/nowhere; a folder",
        tmp_path / "empty": "is neither a Hugging Face folder",
        tmp_path / "letter.txt": "is not a model",
        tiny_hf_folder / "model.safetensors": "is one file of a Hugging Face folder",
        run: "holds no whole checkpoint",
    }
    for source, sentence in wrong.items():
        with pytest.raises(CheckpointError, match=sentence):
            convert(source, tmp_path / "out", Form.NEMO)
    assert not (tmp_path / "out").exists()


def test_what_stands_there_is_replaced_only_when_asked_and_only_if_a_model(
    tmp_path, run, tiny_hf_folder
):
    convert(tiny_hf_folder, tmp_path / "out", Form.NEMO)
    with pytest.raises(InputError, match="exists; give --force"):
        convert(tiny_hf_folder, tmp_path / "out", Form.NEMO)
    convert(tiny_hf_folder, tmp_path / "out", Form.HUGGINGFACE, force=True)
    assert not (tmp_path / "out" / "weights").exists()
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.png").write_text("a cat")
    for form, out in ((Form.NEMO, photos), (Form.NEMO, run), (Form.FAIR_ESM, tmp_path / "a.pt")):
        if form is Form.FAIR_ESM:
            out.mkdir()
        with pytest.raises(InputError, match="is not replaced"):
            convert(tiny_hf_folder, out, form, force=True)
    assert (photos / "cat.png").exists()
    with pytest.raises(InputError, match=r"must end in \.pt"):
        convert(tiny_hf_folder, tmp_path / "model", Form.FAIR_ESM)
    with pytest.raises(InputError, match="holds the source"):
        convert(tmp_path / "out", tmp_path / "out", Form.NEMO, force=True)
    assert read_any(tmp_path / "out")
