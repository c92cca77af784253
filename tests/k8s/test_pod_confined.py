"""The server runs as confined as its pod: another user, no capabilities, a root that is read-only.

Only root may make such a place, by Linux's mount namespaces; elsewhere this is skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from operating import free_ports
from pods import local, start_up
from rendering import ROOT, container, objects, one

from bionemo_ext.client import Client

pytestmark = pytest.mark.server

CONFINE = """
set -eu
python=$1 closed=$2 models=$3 user=$4 group=$5 shm=$6 root=$7
shift 7
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /media
mkdir /media/models /media/python
mount --bind "$models" /media/models
if [ -n "$closed" ]; then  # Python is where only root may look
  mount --bind "$python" /media/python
  mount -t tmpfs -o mode=0755 tmpfs "$closed"
  mkdir -p "$python"
  mount --bind /media/python "$python"
  mount -o remount,bind,ro "$closed"
  mount -o remount,bind,ro "$python"
fi
mount -t tmpfs -o "mode=2777,gid=$group" tmpfs /tmp
mount -t tmpfs -o "mode=2777,gid=$group,size=$shm" tmpfs /dev/shm
for place in / /media /media/models; do mount -o remount,bind,ro "$place"; done
if touch "$root/writable" 2>/dev/null; then rm "$root/writable"; exit 99; fi
cd /tmp
exec setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs \\
  --bounding-set=-all --inh-caps=-all env -u HOME "$@"
"""


def can_confine():
    if os.geteuid() or not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    if any(Path("/tmp") in path.parents for path in (ROOT, Path(sys.base_prefix))):  # noqa: S108
        return False
    return not subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode


@pytest.mark.skipif(not can_confine(), reason="needs root, mount namespaces, no checkout in /tmp")
def test_the_server_needs_no_more_than_its_pod_has(out, tmp_path):
    claim = shutil.copytree(out, tmp_path / "claim")
    for file in claim.rglob("*.safetensors"):  # transformers saves for its own user only
        file.chmod(0o644)
    found = objects()
    pod = one(found, "Deployment")["spec"]["template"]["spec"]
    serve = container(found)
    assert serve["securityContext"]["readOnlyRootFilesystem"]
    assert serve["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (shm,) = (v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v["name"] == "shm")
    # Only these, and the model's volume, may be written or are there.
    assert [m["mountPath"] for m in serve["volumeMounts"]] == ["/models", "/tmp", "/dev/shm"]  # noqa: S108
    python = Path(sys.base_prefix)
    closed = next((folder for folder in python.parents if not folder.stat().st_mode & 1), "")
    place = [python, closed, claim, pod["securityContext"]["runAsUser"],
             pod["securityContext"]["fsGroup"], shm.replace("Gi", "g"), ROOT]  # fmt: skip
    grpc, http, metrics = free_ports(3)
    ports = [f"--grpc-port={grpc}", f"--http-port={http}", f"--metrics-port={metrics}"]
    words = [*local(serve["args"], {"/models": "/media/models"}), "--host=127.0.0.1", *ports]
    command = [sys.executable, "-m", "bionemo_ext", "serve", *words]
    process = subprocess.Popen(
        ["unshare", "-m", "bash", "-c", CONFINE, "confine", *map(str, place), *command],
        stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        start_up(serve, {"http": http}, process)
        status = Path(f"/proc/{process.pid}/status").read_text()
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert told["Uid"].split() == [str(pod["securityContext"]["runAsUser"])] * 4
        assert (told["CapEff"], told["CapBnd"], told["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
        with Client(f"grpc://127.0.0.1:{grpc}") as client:
            assert np.isfinite(client.embed(["MKTVRQG"])).all()
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
