"""``bionemo-ext pretrain`` with words that cannot work: one sentence, and nothing is started."""

import pytest

from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.preflight import check
from bionemo_ext.recipes.settings import PretrainSettings

MISTAKES = {
    "unknown key": (["model.hiden=64"], "there is no key model.hiden; did you mean model.hidden?"),
    "not a word": (["steps"], "'steps' is not of the form key=value"),
    "unknown choice": (
        ["parallel=sinlge"],
        "there is no parallel 'sinlge'; choose one of node, node_tp2, node_tp4, node_tp4_pp2, "
        "single, tp2",
    ),
    "fp8 without its engine": (
        ["precision=fp8_delayed"],
        "precision.fp8=delayed needs TransformerEngine and a Hopper GPU or later; precision=bf16 "
        "runs everywhere",
    ),
    "fp8 beside fp32": (
        ["precision=fp8_delayed", "precision.arithmetic=fp32"],
        "precision.fp8=delayed goes with precision.arithmetic=bf16, not with fp32",
    ),
    "dropout": (["model.dropout=0.1"], "model.dropout is 0.1, but ESM-2 has no dropout"),
    "pipeline and layers": (
        ["parallel=single", "parallel.devices=3", "parallel.pipeline=3"],
        "parallel.pipeline 3 does not divide the model's 4 layers",
    ),
    "sequence without tensor": (
        ["parallel=single", "parallel.sequence=true"],
        "parallel.sequence=true needs parallel.tensor of 2 or more",
    ),
    "wrong type": (["steps=many"], "steps is 'many', but a whole number is needed"),
    "missing": (["data=fasta"], "data.train must be given, as data.train=..."),
    "below its limit": (["steps=0"], "steps is 0, but it must be at least 1"),
    "negative seed": (["seed=-1"], "seed is -1, but it must be at least 0"),
    "not a rate": (["optimizer.lr=nan"], "optimizer.lr is nan, but it must be at least 1e-12"),
    "no devices": (["parallel.devices=0"], "parallel.devices is 0, but it must be at least 1"),
    "a share over 1": (
        ["data.validation_fraction=2"],
        "data.validation_fraction is 2.0, but it must be at most 1",
    ),
    "one beta": (
        ["optimizer.betas=[0.9]"],
        "optimizer.betas is [0.9], but two numbers from 0 to 1 are needed",
    ),
    "no training data": (["data.train=no.fasta"], "there is no data file or folder no.fasta"),
    "no validation data": (["data.validation=no.fa"], "there is no data file or folder no.fa"),
    "global batch": (
        ["global_batch=24"],
        "global_batch 24 is not a multiple of micro_batch x data parallel size, 16",
    ),
    "data parallel": (
        ["parallel.devices=4"],
        "global_batch 16 is not a multiple of micro_batch x data parallel size, 32",
    ),
    "several nodes": (
        ["parallel.nodes=2", "micro_batch=8"],
        "parallel.nodes is 2, but this command starts the ranks of one node only; "
        "start it with torchrun on every node",
    ),
    "tensor and devices": (
        ["parallel.tensor=2", "parallel.devices=3"],
        "parallel.tensor 2 x parallel.pipeline 1 does not divide the number of devices, 3",
    ),
    "tensor and heads": (
        ["parallel.tensor=3", "parallel.devices=3"],
        "parallel.tensor 3 does not divide model.heads 8",
    ),
    "heads and width": (
        ["model.heads=6"],
        "model.hidden 128 is not a multiple of model.heads 6",
    ),
    "positions": (
        ["data.max_residues=1023"],
        "data.max_residues 1023 with <cls> and <eos> is over model.max_positions 1024",
    ),
}


@pytest.mark.parametrize(("words", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence_and_nothing_is_written(refusal, tmp_path, words, sentence):
    out = tmp_path / "run"
    assert refusal("pretrain", "recipe=demo", f"out={out}", *words) == (2, sentence)
    assert not out.exists()


def test_a_folder_with_other_files_is_left_alone(refusal, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    code, sentence = refusal("pretrain", "recipe=demo", f"out={tmp_path}")
    assert (code, sentence) == (
        2,
        f"{tmp_path} is neither empty nor a run's folder; choose another out=",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_not_a_folder(refusal, tmp_path):
    path = tmp_path / "run"
    path.write_text("a file")
    code, sentence = refusal("pretrain", "recipe=demo", f"out={path}")
    assert (code, sentence) == (2, f"the folder {path} cannot be made: File exists")
    assert path.read_text() == "a file"


@pytest.mark.parametrize("words", [["parallel=single"], ["parallel.devices=4", "micro_batch=8"]])
def test_layouts_that_work_are_not_refused(words):
    check(compose("pretrain", ["recipe=demo", *words], PretrainSettings))


def test_a_recipe_must_be_named(refusal):
    code, sentence = refusal("pretrain", "out=runs/x")
    assert code == 2
    assert sentence.startswith("You must specify 'recipe', e.g, recipe=<OPTION> Available options")
    assert "demo esm1nv_44m esm2_150m" in sentence
