"""One real server for all tests of this folder: the tiny encoder and random heads."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from kept_servers import blaming_lost_workers, kept, logs, mend

from bionemo_ext.client import Client
from bionemo_ext.contract import Kind, Level
from bionemo_ext.export import export
from bionemo_ext.huggingface import Adapter, read_model, write_adapter, write_folder
from bionemo_ext.huggingface import weights_digest as digest
from bionemo_ext.inference.task import Head, HeadKind, Pooling, TaskSpec, load_task, save_task
from bionemo_ext.serving import LocalServer

SPECS = (
    TaskSpec(
        "fold", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"), HeadKind.CONVOLUTION, 64, 32
    ),
    TaskSpec("place", Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"), HeadKind.MLP, 64, 16),
    TaskSpec(
        "sites", Level.SEQUENCE, Kind.MULTILABEL, ("metal", "small"), HeadKind.LINEAR, 64, 0,
        pooling=Pooling.ATTENTION,
    ),
    TaskSpec("adapted", Level.SEQUENCE, Kind.REGRESSION, (), HeadKind.MLP, 64, 16, scale=10),
    TaskSpec("trained", Level.RESIDUE, Kind.REGRESSION, (), HeadKind.LINEAR, 64, 0),
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """An export and what it was made of."""

    huggingface: Path
    tasks: tuple[Path, ...]
    repository: Path


@pytest.fixture(scope="session")
def exported(tiny_hf_folder, tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(1)
    tasks = []
    for spec in SPECS:
        spec = TaskSpec(**{**vars(spec), "encoder_digest": digest(tiny_hf_folder)})
        head = Head(spec).eval()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.mul_(3)  # probabilities far from even, so that errors show
        save_task(folder / spec.name, spec, head)
        tasks.append(folder / spec.name)
    _change_encoders(tiny_hf_folder, folder)
    export(tiny_hf_folder, folder / "out", tasks)
    return Exported(tiny_hf_folder, tuple(tasks), folder / "out" / "triton")


def _change_encoders(base, folder):
    """Of two tasks the encoder was trained too: by an adapter, and as a whole."""
    config, state = read_model(base)
    name = "esm.encoder.layer.1.attention.self.value"
    pair = (torch.randn(2, config.hidden), 0.2 * torch.randn(config.hidden, 2))
    write_adapter(folder / "adapted" / "adapter", Adapter(2, 4.0, {name: pair}, digest(base)))
    state[f"{name}.weight"] = -state[f"{name}.weight"]
    own = folder / "trained" / "huggingface"
    write_folder(own, config, state)
    spec, head = load_task(folder / "trained")
    save_task(folder / "trained", replace(spec, encoder_digest=digest(own)), head)


@pytest.fixture(scope="session")
def server(exported):
    with kept(LocalServer(exported.repository, threads=1)) as running:
        yield running


@pytest.fixture(autouse=True)
def _whole_servers():
    mend()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    with blaming_lost_workers():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    with blaming_lost_workers():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        report.sections += logs()
    return report


@pytest.fixture(scope="session")
def client(server):
    with Client(server.url) as connected:
        yield connected
