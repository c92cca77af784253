"""One real server for all tests of this folder: the tiny encoder and two random heads."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bionemo_ext.client import Client
from bionemo_ext.contract import Kind, Level
from bionemo_ext.export import export
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, save_task
from bionemo_ext.serving import LocalServer

SPECS = (
    TaskSpec(
        "fold", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"), HeadKind.CONVOLUTION, 64, 32
    ),
    TaskSpec("place", Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"), HeadKind.MLP, 64, 16),
)


@dataclass(frozen=True)
class Exported:
    """An export and what it was made of."""

    huggingface: Path
    tasks: tuple[Path, ...]
    repository: Path


@pytest.fixture(scope="session")
def exported(tiny_hf_folder, tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    digest = Encoder.load(tiny_hf_folder).digest
    torch.manual_seed(1)
    tasks = []
    for spec in SPECS:
        spec = TaskSpec(**{**vars(spec), "encoder_digest": digest})
        head = Head(spec).eval()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.mul_(3)  # probabilities far from even, so that errors show
        save_task(folder / spec.name, spec, head)
        tasks.append(folder / spec.name)
    export(tiny_hf_folder, folder / "out", tasks)
    return Exported(tiny_hf_folder, tuple(tasks), folder / "out" / "triton")


@pytest.fixture(scope="session")
def server(exported):
    with LocalServer(exported.repository, threads=1) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    with Client(server.url) as connected:
        yield connected
