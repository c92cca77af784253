"""The init container copies an export from an object store whole or not at all."""

import filecmp
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from operating import free_ports
from pods import environment, local
from rendering import TOOLS, objects, one


@pytest.fixture(scope="module")
def rclone():
    found = shutil.which("rclone") or (TOOLS / "rclone")
    if not Path(found).is_file():
        pytest.skip(f"no rclone on the PATH and none in {TOOLS}; .ci/tools unpacks Debian's")
    return Path(found)


@pytest.fixture
def bucket(out, tmp_path):
    """A folder with an export as docs/deploy.md uploads it: the sums last."""
    folder = tmp_path / "bucket" / "v1"
    shutil.copytree(out, folder)
    sums = "find huggingface triton -type f -exec sha256sum {} + > SHA256SUMS"
    subprocess.run(["sh", "-c", sums], cwd=folder, check=True)
    return folder


@pytest.fixture
def store(rclone, tmp_path):
    """The bucket behind a real protocol; gives the variables that reach it."""
    (port,) = free_ports(1)
    (tmp_path / "bucket").mkdir(exist_ok=True)
    words = ["serve", "webdav", tmp_path / "bucket", "--addr", f"127.0.0.1:{port}"]
    secret = {"RCLONE_WEBDAV_USER": "proteins", "RCLONE_WEBDAV_PASS": "word-of-the-tests"}
    guard = ["--user", secret["RCLONE_WEBDAV_USER"], "--pass", secret["RCLONE_WEBDAV_PASS"]]
    process = subprocess.Popen([rclone, *words, *guard], stderr=subprocess.DEVNULL)
    wait_for(port)
    obscured = subprocess.run(
        [rclone, "obscure", secret["RCLONE_WEBDAV_PASS"]], capture_output=True, text=True
    )
    yield port, secret | {"RCLONE_WEBDAV_PASS": obscured.stdout.strip()}
    process.kill()
    process.wait()


def wait_for(port, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture
def sync(rclone, store, tmp_path):
    """Start the init container's process; its emptyDir is ``tmp_path/models``."""
    port, secret = store
    url = f"repository.objectStore.env.RCLONE_WEBDAV_URL=http://127.0.0.1:{port}"
    sets = ("repository.source=objectStore", "repository.objectStore.remote=:webdav:v1", url)
    found = objects((), (*sets, "repository.objectStore.secret=store"))
    (init,) = one(found, "Deployment")["spec"]["template"]["spec"]["initContainers"]
    models = tmp_path / "models"
    models.mkdir()
    env = environment(init, {"store": secret})
    env["TARGET"], env["HOME"] = env["TARGET"].replace("/models", str(models)), str(tmp_path)
    env["PATH"] = f"{rclone.parent}:{os.environ['PATH']}"

    def start(**more):
        return subprocess.Popen(
            local(init["command"], {}), env=env | more, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def ended(process):
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.strip().splitlines()[-1:] or [""]


def same(left, right):
    """Whether two folders hold the same bytes."""
    names = sorted(p.relative_to(left) for p in left.rglob("*") if p.is_file())
    others = sorted(p.relative_to(right) for p in right.rglob("*") if p.is_file())
    return names == others and filecmp.cmpfiles(left, right, names, shallow=False)[0] == names


def test_a_whole_export_arrives_and_is_left_alone_then(bucket, sync, tmp_path):
    assert ended(sync())[0] == 0
    assert same(bucket, tmp_path / "models" / "current")
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["current"]
    stamp = (tmp_path / "models" / "current").stat().st_mtime_ns
    (bucket / "SHA256SUMS").unlink()  # the next version is on its way
    assert ended(sync())[0] == 0  # a pod's container that is started again
    assert (tmp_path / "models" / "current").stat().st_mtime_ns == stamp


def lost(bucket):
    (bucket / "SHA256SUMS").unlink()


def damaged(bucket):
    file = bucket / "huggingface" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def short(bucket):
    (bucket / "huggingface" / "config.json").unlink()


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lost, ":webdav:v1 is not a whole export: it needs the folder triton and, uploaded last,"),
        (damaged, "not agree with its SHA256SUMS: huggingface/model.safetensors: FAILED"),
        (short, "not agree with its SHA256SUMS: huggingface/config.json: FAILED open or read"),
    ],
)
def test_what_is_not_whole_is_never_served(bucket, sync, tmp_path, harm, sentence):
    harm(bucket)
    code, (told,) = ended(sync())
    assert (code, sentence in told) == (1, True), told
    assert not (tmp_path / "models" / "current").exists()


def test_a_store_that_is_not_there(sync, tmp_path):
    code, (told,) = ended(sync(RCLONE_RETRIES="1"))
    assert code != 0
    assert "not found" in told
    assert not (tmp_path / "models" / "current").exists()


def test_a_copy_that_is_killed_goes_on(bucket, sync, tmp_path):
    big = bucket / "huggingface" / "big.bin"
    big.write_bytes(os.urandom(1 << 20) * 20)
    with (bucket / "SHA256SUMS").open("a") as sums:
        subprocess.run(["sha256sum", "huggingface/big.bin"], cwd=bucket, stdout=sums, check=True)
    process = sync(RCLONE_BWLIMIT="4M")
    incoming = tmp_path / "models" / "current.incoming"
    while not list(incoming.rglob("big.bin*")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "models" / "current").exists()
    (part,) = incoming.rglob("big.bin*")  # newer versions of rclone give parts another name
    assert part.stat().st_size < big.stat().st_size
    assert ended(sync())[0] == 0
    assert same(bucket, tmp_path / "models" / "current")
