"""A small task on the tiny encoder."""

import pytest

from bionemo_ext.contract import Kind, Level
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, save_task


@pytest.fixture
def make_task(tiny_hf_folder, tmp_path):
    """Writes a task folder; ``digest`` another than the tiny encoder's makes it a stranger."""

    def make(name="place", digest=None, folder=None):
        digest = digest or Encoder.load(tiny_hf_folder).digest
        spec = TaskSpec(
            name, Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"), HeadKind.LINEAR, 64, 16,
            encoder_digest=digest,
        )  # fmt: skip
        path = tmp_path / (folder or f"task-{name}")
        save_task(path, spec, Head(spec))
        return path

    return make
