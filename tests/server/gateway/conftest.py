"""A gateway before the server of all tests, and a browser."""

import os
from pathlib import Path

import pytest
import torch
from gateway_process import TOKEN, running
from kept_servers import kept
from page_browser import FLAGS, chromium

from bionemo_ext.contract import Kind, Level
from bionemo_ext.export import export
from bionemo_ext.huggingface import weights_digest
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, save_task
from bionemo_ext.serving import LocalServer

HIDDEN = 320
TASKS = (
    ("secondary_structure", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H")),
    ("conservation", Level.RESIDUE, Kind.CLASSIFICATION, tuple("123456789")),
    ("flexibility", Level.RESIDUE, Kind.REGRESSION, ()),
    ("location", Level.SEQUENCE, Kind.CLASSIFICATION, ("Cytoplasm", "Nucleus", "Membrane")),
)


@pytest.fixture(scope="session")
def gateway(server, tmp_path_factory):
    """A gateway that calls the model esm2 esm2-650m too."""
    log = tmp_path_factory.mktemp("gateway") / "log"
    with running(log, server.url, "--model", "esm2-650m=esm2") as found:
        yield found


@pytest.fixture(scope="session")
def guarded(server, tmp_path_factory):
    """The same with a token, read from a file."""
    place = tmp_path_factory.mktemp("guarded")
    (place / "token").write_text(f"{TOKEN}\n")
    options = ("--token-file", str(place / "token"), "--model", "esm2-650m=esm2")
    with running(place / "log", server.url, *options) as found:
        yield found


@pytest.fixture(scope="module")  # its event loop runs in this thread: others need theirs
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = chromium()
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Where screenshots are kept: BIONEMO_EXT_SCREENSHOTS, or pytest's own folder."""
    chosen = os.environ.get("BIONEMO_EXT_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def shaped(random_esm2, tmp_path_factory):
    """A server of the shape that ESM-2 8M has."""
    place = tmp_path_factory.mktemp("page")
    random_esm2(place / "model", layers=6, hidden=HIDDEN, heads=20)
    torch.manual_seed(1)
    for name, level, kind, classes in TASKS:
        spec = TaskSpec(
            name, level, kind, classes, HeadKind.LINEAR, HIDDEN, 0,
            encoder_digest=weights_digest(place / "model"),
        )  # fmt: skip
        save_task(place / name, spec, Head(spec).eval())
    export(place / "model", place / "out", [place / name for name, *_ in TASKS])
    with kept(LocalServer(place / "out" / "triton", threads=2)) as server:
        yield server


@pytest.fixture(scope="session")
def site(shaped, tmp_path_factory):
    with running(tmp_path_factory.mktemp("site") / "log", shaped.url) as found:
        yield found
