"""``export`` and ``serve`` as a user runs them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bionemo_ext.client import Client

pytestmark = pytest.mark.server


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def regions(pid: int) -> set[Path]:
    """Shared memory that the processes below one have open, other servers' left alone."""
    found = set()
    for process in psutil.Process(pid).children(recursive=True):
        paths = {Path(area.path) for area in process.memory_maps()}
        found |= {path for path in paths if path.name.startswith("triton_python_backend_shm")}
    return found


@pytest.fixture(scope="module")
def repository(command, tiny_hf_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "out"
    done = command("export", tiny_hf_folder, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    names = "esm2_embed, esm2_logits, esm2_contacts, esm2_mutation_effect"
    assert done.stdout == f"wrote {out / 'huggingface'} and {out / 'triton'} ({names})\n"
    return out / "triton"


def test_serve_says_when_it_is_ready_and_ends_cleanly(repository, tmp_path):
    (tmp_path / "tmp").mkdir()
    grpc, http, metrics = free_ports(3)
    words = ["--grpc-port", grpc, "--http-port", http, "--metrics-port", metrics, "--threads", 1]
    serving = subprocess.Popen(
        [sys.executable, "-m", "bionemo_ext", "serve", str(repository), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )
    try:
        url = f"grpc://127.0.0.1:{grpc}"
        assert serving.stdout.readline() == (
            f"ready: {url} (esm2_contacts, esm2_embed, esm2_logits, esm2_mutation_effect)\n"
        )
        with Client(url) as client:
            assert client.embed(["MKT"]).shape == (1, 64)
        left = regions(serving.pid)
    finally:
        serving.send_signal(signal.SIGINT)
        rest, errors = serving.communicate(timeout=30)
    assert serving.returncode == 0
    assert rest == "stopped\n"
    assert "Traceback" not in errors
    assert left
    assert not [path for path in left if path.exists()]
    assert not list((tmp_path / "tmp").iterdir())


def test_serve_on_a_busy_port(refusal, repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, sentence = refusal("serve", repository, "--http-port", port)
    assert code == 1
    assert sentence.startswith(
        f"cannot listen on 127.0.0.1:{port} for http: Address already in use"
    )


def test_serve_what_is_no_repository(refusal, tmp_path):
    assert refusal("serve", tmp_path) == (
        2,
        f"{tmp_path} is not a model repository: no */config.pbtxt in it",
    )


def test_export_names_a_model_and_adds_another(command, refusal, tiny_hf_folder, tmp_path):
    out = tmp_path / "out"
    assert command("export", tiny_hf_folder, "--out", out, "--name", "one").returncode == 0
    more = ("export", tiny_hf_folder, "--out", out, "--add", "--instances", 2)
    done = command(*more, "--name", "two")
    assert (done.returncode, done.stderr) == (0, "")
    names = "two_embed, two_logits, two_contacts, two_mutation_effect"
    assert done.stdout == f"wrote {out / 'huggingface-two'} and {out / 'triton'} ({names})\n"
    assert (out / "huggingface-two" / "config.json").is_file()
    code, sentence = refusal(*more, "--name", "one")
    assert code == 2
    assert sentence.startswith(f"{out} would have two endpoints 'one_embed'")
    assert len(list((out / "triton").glob("*/config.pbtxt"))) == 8


def test_export_of_a_truncated_checkpoint(refusal, tiny_hf_folder, tmp_path):
    source = shutil.copytree(tiny_hf_folder, tmp_path / "source")
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:10_000])
    code, sentence = refusal("export", source, "--out", tmp_path / "out")
    assert code == 2
    assert sentence.startswith(f"{weights} is damaged or cut short")
    assert not (tmp_path / "out").exists()


def test_export_of_a_folder_without_a_model(refusal, tmp_path):
    code, _ = refusal("export", tmp_path, "--out", tmp_path / "out")
    assert code == 2
