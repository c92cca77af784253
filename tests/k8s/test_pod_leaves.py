"""Two replicas under load, of which one is told to end as Kubernetes does it; and `helm test`."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rendering
from certificates import certificate
from operating import Serving
from pods import environment, local, pre_stop, probe, start_up
from rendering import container, objects, one

from bionemo_ext.client import Client

pytestmark = pytest.mark.server

LOOPBACK = "--host=127.0.0.1"  # the last one counts
PROTEINS = ["MKTVRQGLWE" * n for n in (3, 12, 30)]


def start(found, places):
    started = Serving(*local(found["args"], places), LOOPBACK)
    start_up(found, {"http": started.http}, started.process)
    return started


class Callers:
    """Threads that ask without pause; each answer is held to what is right."""

    def __init__(self, url, expected, count=3):
        self.answers, self.errors, self.stop = 0, [], False
        self.threads = [
            threading.Thread(target=self._ask, args=(url, expected)) for _ in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def _ask(self, url, expected):
        try:
            with Client(url) as client:
                while not self.stop:
                    np.testing.assert_allclose(client.embed(PROTEINS), expected, rtol=0, atol=1e-5)
                    self.answers += 1
        except Exception as error:
            self.errors.append(error)

    def go_on(self, count=10):
        """Wait until so many more are answered, or one is not."""
        enough = self.answers + count
        while self.answers < enough and not self.errors:
            time.sleep(0.05)

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


def test_a_replica_leaves_under_load_and_no_request_is_lost(out):
    found = objects((), ("preStopSeconds=1", "serve.drainSeconds=20"))
    pod = one(found, "Deployment")["spec"]["template"]["spec"]
    serve = container(found)
    leaving, staying = (start(serve, {"/models": out}) for _ in range(2))
    try:
        with Client(staying.url) as client:
            expected = client.embed(PROTEINS)
        callers = Callers(f"{leaving.url},{staying.url}", expected)
        try:
            callers.go_on()
            assert 1 <= pre_stop(serve) < 10
            leaving.process.send_signal(signal.SIGTERM)
            assert leaving.process.wait(pod["terminationGracePeriodSeconds"]) == 0
            assert not probe(serve, "readinessProbe", {"http": leaving.http})
            callers.go_on()
        finally:
            callers.end()
        assert callers.errors == []
    finally:
        for serving in (leaving, staying):
            serving.process.kill()
            serving.process.wait()


@pytest.mark.parametrize(
    "mutual", [pytest.param(False, marks=pytest.mark.slow), True], ids=["plain", "mutual TLS"]
)
def test_helm_test_runs(out, tmp_path, mutual):
    """The hook's command asks the release's own name; here that is the loopback's."""
    sets = rendering.COMBINATIONS["mutual TLS, keys, gateway"][1] if mutual else ()
    found = objects((), tuple(one for one in sets if not one.startswith("adminKey")))
    folders = {"tls": "tls", "client": "client", "server": "tls"}
    if mutual:
        root, _, signer = certificate(tmp_path, "root")
        for name in ("tls", "client"):
            folder = tmp_path / name
            folder.mkdir()
            pem, key, _ = certificate(folder, name, signer)
            pem.rename(folder / "tls.crt")
            key.rename(folder / "tls.key")
            (folder / "ca.crt").write_bytes(root.read_bytes())
    secrets = {f"/etc/bionemo-ext/{k}": tmp_path / v for k, v in folders.items()}
    (test,) = one(found, "Job", "-test")["spec"]["template"]["spec"]["containers"]
    with Serving(*local(container(found)["args"], secrets | {"/models": out}), LOOPBACK) as serving:
        name = "esm2-bionemo-ext-grpc.proteins.svc:8001"
        address = f"localhost:{serving.url.rpartition(':')[2]}"
        places = {"/tmp/": f"{tmp_path}/"} | secrets | {name: address}  # noqa: S108
        words = local(test["command"], places)
        assert sum(address in word for word in words) == 1
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        done = subprocess.run(
            words, env=environment(test) | {"PATH": path}, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert "1 records, 76 residues" in done.stdout
    assert (tmp_path / "ubiquitin.npz").is_file()
