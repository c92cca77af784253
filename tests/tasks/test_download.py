"""FLIP's archives from a server on this machine: whole or not there, and checked."""

import hashlib
import json
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from zipfile import ZipFile

import pytest

from bionemo_ext.errors import DataError
from bionemo_ext.tasks.catalogue import TASKS
from bionemo_ext.tasks.download import download


class Handler(BaseHTTPRequestHandler):
    """Serves ``files`` by path; breaks off after ``cut`` bytes as often as ``cuts`` says."""

    def __init__(self, server, *given):
        self.plan = server
        super().__init__(*given)

    def do_GET(self):
        plan, start = self.plan, 0
        body = plan["files"].get(self.path)
        plan["asked"].append((self.path, self.headers.get("Range")))
        if body is None:
            self.send_error(404)
            return
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if plan["cuts"] > 0:
            plan["cuts"] -= 1
            self.wfile.write(body[start : start + plan["cut"]])
            self.close_connection = True
        else:
            self.wfile.write(body[start:])

    def log_message(self, *_):
        pass


@contextmanager
def serving(files, cuts=0, cut=1000):
    plan = {"files": files, "cuts": cuts, "cut": cut, "asked": []}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, plan))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", plan
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def bind(shared_data):
    return (shared_data / "FLIP" / "splits" / "bind" / "splits.zip").read_bytes()


@pytest.fixture
def small(tmp_path):
    """An archive of a task whose checksum is not pinned."""
    with ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("splits/mixed.csv", "sequence,target,set\nMKT,effect,train\n")
    return (tmp_path / "x.zip").read_bytes()


def test_download_and_again(command, bind, tmp_path):
    data = tmp_path / "flip"
    with serving({"/bind/splits.zip": bind}) as (url, plan):
        words = ("flip", "download", "bind", "--data", data, "--base-url", url)
        done = command(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "bind/splits.zip downloaded, SHA-256 f742c8b3" in done.stdout
        again = json.loads(command(*words, "--json").stdout)
        assert [a["new"] for a in again] == [False]
        assert plan["asked"] == [("/bind/splits.zip", None)]
    assert (data / "bind" / "splits.zip").read_bytes() == bind
    assert [f.name for f in (data / "bind").iterdir()] == ["splits.zip"]
    listed = {
        t["task"]: t for t in json.loads(command("flip", "list", "--json", "--data", data).stdout)
    }
    assert {s["present"] for s in listed["bind"]["splits"].values()} == {True}
    assert {s["present"] for s in listed["aav"]["splits"].values()} == {False}
    shown = command("flip", "list", "--data", data).stdout
    assert "from_publication *" in shown
    assert "648 / 364" in shown


@pytest.mark.parametrize(
    ("task", "archive"),
    [
        ("secondary_structure", "splits.zip"),
        ("secondary_structure", "splits_head_test364.zip"),
        ("conservation", "splits.zip"),
        ("gb1", "splits.zip"),
    ],
)
def test_archives_at_hand_are_the_pinned_ones(shared_data, tmp_path, task, archive):
    (tmp_path / task).mkdir()
    there = tmp_path / task / "splits.zip"
    there.symlink_to(shared_data / "FLIP" / "splits" / task / archive)
    assert not download(TASKS[task], tmp_path).new
    there.unlink()
    there.write_bytes(b"another")
    with pytest.raises(DataError, match="remove it to download it"):
        download(TASKS[task], tmp_path)


def test_a_wrong_checksum_leaves_nothing(refusal, bind, tmp_path):
    with serving({"/bind/splits.zip": bind[:-1] + b"x"}) as (url, _):
        code, told = refusal("flip", "download", "bind", "--data", tmp_path, "--base-url", url)
    assert code == 2
    assert "has the SHA-256" in told
    assert "f742c8b3" in told
    assert list((tmp_path / "bind").iterdir()) == []


def test_a_broken_connection_goes_on(command, refusal, bind, tmp_path):
    words = ("flip", "download", "bind", "--data", tmp_path, "--base-url")
    with serving({"/bind/splits.zip": bind}, cuts=3, cut=100_000) as (url, _):
        code, told = refusal(*words, url)
        assert code == 1
        assert "the connection broke off; the same command goes on where it broke off" in told
        assert not (tmp_path / "bind" / "splits.zip").exists()
    with serving({"/bind/splits.zip": bind}, cuts=1, cut=70_000) as (url, plan):
        assert command(*words, url).returncode == 0
        assert plan["asked"] == [
            ("/bind/splits.zip", f"bytes={3 * 65536}-"),
            ("/bind/splits.zip", f"bytes={4 * 65536}-"),
        ]
    assert (tmp_path / "bind" / "splits.zip").read_bytes() == bind


def test_the_first_checksum_is_kept(command, refusal, small, tmp_path):
    words = ("flip", "download", "sav", "--data", tmp_path, "--base-url")
    with serving({"/sav/splits.zip": small}) as (url, _):
        assert command(*words, url).returncode == 0
    recorded = json.loads((tmp_path / "checksums.json").read_text())
    assert recorded == {"sav": hashlib.sha256(small).hexdigest()}
    (tmp_path / "sav" / "splits.zip").unlink()
    with serving({"/sav/splits.zip": small + b"more"}) as (url, _):
        code, told = refusal(*words, url)
    assert (code, recorded["sav"] in told) == (2, True)
    (tmp_path / "sav" / "splits.zip").write_bytes(small + b"more")
    assert "remove it to download it" in refusal(*words, url)[1]
    (tmp_path / "checksums.json").write_text("{")
    assert "checksums.json is damaged" in refusal(*words, url)[1]


def test_what_a_server_may_answer(refusal, tmp_path):
    words = ("flip", "download", "sav", "--data", tmp_path, "--base-url")
    with serving({"/sav/splits.zip": b"<html>moved</html>"}) as (url, _):
        code, told = refusal(*words, url)
        assert (code, "is not a whole zip archive" in told) == (2, True)
        code, told = refusal("flip", "download", "aav", "--data", tmp_path, "--base-url", url)
        assert (code, "the server answers 404" in told) == (1, True)
    code, told = refusal(*words, url)
    assert (code, "the server cannot be reached" in told) == (1, True)
    assert refusal("flip", "download", "gb9")[0] == 2
    assert list(tmp_path.rglob("splits.zip")) == []
