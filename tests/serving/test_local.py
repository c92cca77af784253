"""The real tritonserver starts, ends and fails in an orderly way."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bionemo_ext.client import Client
from bionemo_ext.contract import SEQUENCE, Endpoint, TensorSpec, to_pbtxt
from bionemo_ext.errors import CheckpointError, RunError
from bionemo_ext.serving import LocalServer
from bionemo_ext.serving.binaries import Binaries

pytestmark = pytest.mark.server

ECHO = """
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        names = [pb_utils.get_input_tensor_by_name(r, "sequence").as_numpy() for r in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("out", n)]) for n in names]
"""
BROKEN = """
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("the weights are made of cheese")
"""
SHM = Path("/dev/shm")  # noqa: S108


def make_repository(folder: Path, code: str) -> Path:
    text = TensorSpec(SEQUENCE, "TYPE_STRING", (1,))
    endpoint = Endpoint("echo", (text,), (TensorSpec("out", "TYPE_STRING", (1,)),))
    (folder / "echo" / "1").mkdir(parents=True)
    (folder / "echo" / "config.pbtxt").write_text(to_pbtxt(endpoint))
    (folder / "echo" / "1" / "model.py").write_text(code)
    return folder


def regions(prefix: str) -> set[str]:
    """Shared memory of one server; other tests have servers of their own at the same time."""
    assert prefix.startswith("triton_python_backend_shm_region_")
    return {path.name for path in SHM.glob(f"{prefix}*")}


def read_only(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def gone(pid: int, within_s: float = 20) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_it_serves_a_read_only_repository_and_leaves_nothing(tmp_path, monkeypatch):
    repository = make_repository(tmp_path / "repository", ECHO)
    read_only(repository)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with LocalServer(repository) as server:
        assert server.endpoints == ["echo"]
        assert len(set(server.ports.values())) == 3
        with Client(server.url) as client:
            assert client.ready()
            assert list(client.models()) == ["echo"]
        assert regions(server._shm_prefix)
        pid = server.pid
        assert pid is not None
    assert gone(pid, 0.1)
    assert not regions(server._shm_prefix)
    assert not list((tmp_path / "temporary").iterdir())
    assert server.pid is None


def test_a_model_that_does_not_load_is_named(tmp_path):
    repository = make_repository(tmp_path, BROKEN)
    with pytest.raises(RunError) as caught, LocalServer(repository):
        pass
    assert str(caught.value) == "the model 'echo' does not load: the weights are made of cheese"


def test_a_python_without_its_library_is_named(tmp_path, monkeypatch):
    """As where Python 3.11 was built without a shared library: the stub cannot be loaded."""
    make_backends = Binaries.make_backends

    def without_library(self: Binaries, folder: Path) -> None:
        make_backends(self, folder)
        stub = folder / "python" / self.stub.name
        patched = stub.read_bytes().replace(b"libpython3.11.so", b"libpython3.99.so")
        stub.write_bytes(patched)

    monkeypatch.setattr(Binaries, "make_backends", without_library)
    with (
        pytest.raises(RunError, match=r"lacks the library libpython3\.99\.so"),
        LocalServer(make_repository(tmp_path, ECHO), startup_s=60),
    ):
        pass


def test_a_server_that_was_killed_is_noticed(tmp_path):
    with LocalServer(make_repository(tmp_path, ECHO)) as server:
        server.check()
        assert regions(server._shm_prefix)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(RunError, match="the server ended with exit code -9"):
            server.check()
    assert not regions(server._shm_prefix)


def test_the_server_does_not_outlive_its_program(tmp_path):
    repository = make_repository(tmp_path / "repository", ECHO)
    (tmp_path / "temporary").mkdir()
    program = (
        "import sys; from bionemo_ext.serving import LocalServer; "
        "server = LocalServer(sys.argv[1]).start(); "
        "print(server.pid, server._shm_prefix, flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(repository)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "TMPDIR": str(tmp_path / "temporary"),
        },  # killed, it cannot remove its folder
    )
    pid, prefix = parent.stdout.readline().split()
    assert regions(prefix)
    parent.kill()
    parent.communicate()
    assert gone(int(pid))
    assert not regions(prefix)


def test_a_busy_port_is_one_sentence(tmp_path):
    repository = make_repository(tmp_path, ECHO)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError) as caught, LocalServer(repository, grpc_port=port):
            pass
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port} for grpc: Address already in use; "
        "give another port with --grpc-port"
    )


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is not a model repository"):
        LocalServer(tmp_path).start()
