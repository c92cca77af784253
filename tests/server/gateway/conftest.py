"""A gateway before the server of all tests, and a browser."""

import os
from pathlib import Path

import pytest
from gateway_process import TOKEN, running
from page_browser import FLAGS, chromium


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
