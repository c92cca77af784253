"""Task heads: saved whole, read strictly, exact for each sequence on its own."""

import json

import numpy as np
import pytest
import torch

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import CheckpointError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, load_task, predict
from bionemo_ext.inference.task import save_task as save

SPECS = {
    "residue": TaskSpec(
        "structure", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"), HeadKind.CONVOLUTION,
        64, 32,
    ),
    "sequence": TaskSpec(
        "location", Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"), HeadKind.MLP, 64, 16
    ),
    "regression": TaskSpec(
        "melting", Level.SEQUENCE, Kind.REGRESSION, (), HeadKind.LINEAR, 64, 0, mean=50, scale=9
    ),
}  # fmt: skip


@pytest.fixture(params=SPECS)
def task(request, tmp_path):
    torch.manual_seed(0)
    spec = SPECS[request.param]
    save(tmp_path / "task", spec, Head(spec))
    return tmp_path / "task"


def test_a_task_comes_back_as_it_was(task, tiny_hf_folder):
    spec, head = load_task(task)
    assert spec in SPECS.values()
    batch = ["MKTAYIAKQR", "MK", "ACDEFGHIKLMNPQRSTVWY"]
    encoder = Encoder.load(tiny_hf_folder)
    together = predict(head, spec, encoder.encode(batch))
    for sequence, found in zip(batch, together, strict=True):
        alone = predict(head, spec, encoder.encode([sequence]))[0]
        np.testing.assert_allclose(found, alone, atol=1e-5)
        rows = (len(sequence),) if spec.level is Level.RESIDUE else ()
        assert found.shape == (*rows, spec.outputs)
        if spec.kind is Kind.CLASSIFICATION:
            np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
        else:
            hidden = encoder.encode([sequence]).mean()
            np.testing.assert_allclose(found, head(hidden)[0].detach() * 9 + 50, atol=1e-4)


def test_whoever_may_read_the_folder_may_read_the_head(task):
    # The server in a container is another user than the one who trained.
    assert (task / "head.safetensors").stat().st_mode == (task / "task.json").stat().st_mode


def test_a_damaged_task_is_one_sentence(task):
    text = (task / "task.json").read_text()
    (task / "task.json").write_text(json.dumps(json.loads(text) | {"input_size": 65}))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_task(task)
    (task / "task.json").write_text(text.replace('"level"', '"leval"'))
    with pytest.raises(CheckpointError, match="does not describe a task"):
        load_task(task)
    (task / "task.json").write_text(text)
    weights = (task / "head.safetensors").read_bytes()
    (task / "head.safetensors").write_bytes(weights[:-10])
    with pytest.raises(CheckpointError, match="cut short"):
        load_task(task)
    (task / "head.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        load_task(task)
