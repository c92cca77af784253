"""An ESMFold model is exported beside a model or alone, whole or not at all."""

import json
import shutil

import pytest
from transformers import EsmForProteinFolding

from bionemo_ext.contract import FOLD, HOST, fold_endpoint, from_pbtxt
from bionemo_ext.errors import CheckpointError, ConfigError, InputError
from bionemo_ext.export import FoldSource, export, export_fold
from bionemo_ext.huggingface import weights_digest
from bionemo_ext.inference.fold import FoldingModel

MODEL = f"triton/{FOLD}/1/model"


def read_endpoint(out):
    return from_pbtxt((out / "triton" / FOLD / "config.pbtxt").read_text())


def test_alone_it_holds_all_it_needs(tiny_fold_folder, tmp_path):
    out = tmp_path / "out"
    # transformers makes it its owner's alone, and others could not serve a link to it.
    (tiny_fold_folder / "model.safetensors").chmod(0o644)
    source = FoldSource(tiny_fold_folder, dtype="bfloat16", max_residues=300, chunk_size=0)
    found = export_fold(source, out)
    digest = weights_digest(tiny_fold_folder)
    assert found == [fold_endpoint(300, chunk_size=0, dtype="bfloat16", digest=digest)]
    assert read_endpoint(out) == found[0]
    assert [path.name for path in out.iterdir()] == ["triton"]
    assert "FoldModel" in (out / "triton" / FOLD / "1" / "model.py").read_text()
    weights = out / MODEL / "model.safetensors"
    assert weights.stat().st_ino == (tiny_fold_folder / "model.safetensors").stat().st_ino
    assert len(FoldingModel.load(out / MODEL).fold_batch(["MKTV"])[0].plddt) == 4


def test_beside_a_model_and_added_to_one(tiny_hf_folder, tiny_fold_folder, tmp_path):
    source = FoldSource(tiny_fold_folder)
    names = [endpoint.name for endpoint in export(tiny_hf_folder, tmp_path / "both", fold=source)]
    assert names[-1] == FOLD
    assert {HOST, FOLD} < {path.name for path in (tmp_path / "both" / "triton").iterdir()}
    export(tiny_hf_folder, tmp_path / "one")
    export_fold(source, tmp_path / "one", add=True)
    for out in (tmp_path / "both", tmp_path / "one"):
        assert read_endpoint(out).max_residues == 1024
        assert (out / MODEL / "config.json").is_file()
    with pytest.raises(InputError, match="would have two endpoints 'esmfold'"):
        export_fold(source, tmp_path / "one", add=True)


def test_sharded_weights_come_along(tiny_fold_folder, tmp_path):
    model = EsmForProteinFolding.from_pretrained(tiny_fold_folder)
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    export_fold(FoldSource(tmp_path / "shards"), tmp_path / "out")
    assert not (tmp_path / "out" / MODEL / "model.safetensors").exists()
    FoldingModel.load(tmp_path / "out" / MODEL)


@pytest.mark.parametrize("what", ["no folder", "an encoder", "a tensor less"])
def test_what_is_no_esmfold_leaves_nothing_behind(tiny_hf_folder, tiny_fold_folder, tmp_path, what):
    folder = tmp_path / "model"
    sentence = "there is no folder"
    if what == "an encoder":
        shutil.copytree(tiny_hf_folder, folder)
        sentence = "holds an ESM encoder without a folding trunk"
    elif what == "a tensor less":
        shutil.copytree(tiny_fold_folder, folder)
        raw = json.loads((folder / "config.json").read_text())
        raw["num_hidden_layers"] = 3
        (folder / "config.json").write_text(json.dumps(raw))
        sentence = r"lacks \d+ tensors, first esm.encoder.layer.2"
    before = {path.name for path in tmp_path.iterdir()}
    for write in (
        lambda: export_fold(FoldSource(folder), tmp_path / "out"),
        lambda: export(tiny_hf_folder, tmp_path / "out", fold=FoldSource(folder)),
    ):
        with pytest.raises(CheckpointError, match=sentence):
            write()
        assert {path.name for path in tmp_path.iterdir()} == before


def test_numbers_that_cannot_be(tiny_fold_folder):
    for options, sentence in (
        ({"dtype": "int8"}, "folding has no precision 'int8': float32, bfloat16, float16"),
        ({"max_residues": 0}, "the limit of residues is 0, it must be above 0"),
        ({"chunk_size": -1}, "the chunk size is -1, it must not be below 0"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            FoldSource(tiny_fold_folder, **options)


def test_the_command(command, refusal, tiny_fold_folder, tmp_path):
    out = tmp_path / "out"
    options = ("--fold-residues", 50, "--fold-dtype", "float16", "--fold-chunk", 16)
    done = command("export", "--fold", tiny_fold_folder, "--out", out, *options, "--json")
    assert json.loads(done.stdout) == {"out": str(out), "endpoints": [FOLD]}
    parameters = read_endpoint(out).parameters
    assert (parameters["max_residues"], parameters["dtype"]) == ("50", "float16")
    assert parameters["chunk_size"] == "16"
    for words, sentence in (
        ((), "give a model to export, or --fold with an ESMFold model"),
        (("--fold", tiny_fold_folder, "--task", "x"), "--task and --name belong to a model"),
    ):
        code, found = refusal("export", "--out", tmp_path / "other", *words)
        assert code == 2
        assert found.startswith(sentence)
    assert not (tmp_path / "other").exists()
