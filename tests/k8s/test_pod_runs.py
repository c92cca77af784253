"""What the pods run is run: arguments, variables, probes, preStop, and how they end."""

import json
import re
import signal
import threading
import time
from urllib.request import urlopen

import numpy as np
import pytest
import rendering
from certificates import certificate
from gateway_process import running
from operating import Serving
from pods import entrypoint, environment, local, pre_stop, probe, start_up
from rendering import container, objects, one

from bionemo_ext.client import Client, Tls

pytestmark = pytest.mark.server

ADMIN_KEY = "admin-key-of-the-tests"
TOKEN = "token-of-the-tests"  # noqa: S105 (of nothing)
LOOPBACK = "--host=127.0.0.1"  # the last one counts


def ports_of(serving):
    return {"http": serving.http, "metrics": serving.metrics}


@pytest.fixture(scope="module")
def pod():
    """Deployment and container, with little time to wait and a folder a version."""
    sets = ("repository.path=v3", "preStopSeconds=1", "serve.drainSeconds=20")
    found = objects((), (*sets, "adminKey.secret=admin"))
    return one(found, "Deployment")["spec"]["template"]["spec"], container(found)


def start(found, places, secrets=None):
    """Start a serving container's process; ready or not."""
    assert entrypoint("serving") == ["serve"]
    env = environment(found, secrets)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return Serving(*local(found["args"], places), LOOPBACK)


@pytest.fixture(scope="module")
def serving(pod, out, tmp_path_factory):
    claim = tmp_path_factory.mktemp("claim")
    (claim / "v3").symlink_to(out)
    spec, found = pod
    assert [v["name"] for v in spec["volumes"]] == [m["name"] for m in found["volumeMounts"]]
    started = start(found, {"/models": claim}, {"admin": {"admin-key": ADMIN_KEY}})
    try:
        start_up(found, ports_of(started), started.process)
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def test_the_pod_serves_and_its_probes_say_so(pod, serving):
    _, found = pod
    ports = ports_of(serving)
    assert probe(found, "readinessProbe", ports)
    assert probe(found, "livenessProbe", ports)
    with Client(serving.url) as client:
        assert np.isfinite(client.embed(["MKTVRQG"])).all()
    assert [port["containerPort"] for port in found["ports"]] == [8000, 8001, 8002]


def metrics_asked_for():
    """Series of the server and of the gateway that rules, dashboard and autoscaler ask for."""
    asked = set()
    for values in (rendering.COMBINATIONS["cpu"], rendering.COMBINATIONS["object store and keda"]):
        kinds = ("PrometheusRule", "ScaledObject", "ConfigMap")
        for found in (o for o in objects(*values) if o["kind"] in kinds):
            asked |= set(re.findall(r"\b(?:nv|bionemo_ext)_\w+(?=\\?[{\[])", json.dumps(found)))
    of_gateway = {name for name in asked if name.startswith("bionemo_ext_gateway_")}
    return asked - of_gateway, of_gateway


def test_every_metric_that_is_asked_for_is_there(serving):
    with urlopen(f"http://127.0.0.1:{serving.metrics}/metrics") as reply:
        text = reply.read().decode()
    # A family has its name before its first value; a histogram's parts have other names.
    there = set(re.findall(r"^# TYPE (\S+)|^(\w+)(?={)", text, re.MULTILINE))
    there = {name for names in there for name in names}
    asked, _ = metrics_asked_for()
    on_gpus = {name for name in asked if name.startswith("nv_gpu_")}
    assert {"bionemo_ext_pending_requests", "nv_inference_request_success"} <= asked
    assert asked - on_gpus - there == set()


def test_the_pod_ends_without_losing_a_request(pod, serving):
    """Last of those that use it: preStop, then SIGTERM, then the end within the grace period."""
    spec, found = pod
    answers = []
    with Client(serving.url) as client:
        proteins = ["MKTVRQGLWE" * 102] * 16  # seconds

        def ask():
            answers.append(client.contacts(proteins))

        asking = threading.Thread(target=ask)
        start_up(found, ports_of(serving), serving.process)  # it may have met a pause
        assert 1 <= pre_stop(found) < 10
        assert probe(found, "readinessProbe", ports_of(serving))  # still there for those who come
        asking.start()
        time.sleep(0.3)
        assert not answers  # it is under way
        began = time.monotonic()
        serving.process.send_signal(signal.SIGTERM)
        code = serving.process.wait(spec["terminationGracePeriodSeconds"] + 30)
        took = time.monotonic() - began
        asking.join()
    assert code == 0
    assert len(answers) == 1
    assert took + 1 < spec["terminationGracePeriodSeconds"]
    assert not probe(found, "livenessProbe", ports_of(serving))


def test_the_grace_is_longer_than_all_that_happens_in_it():
    for values in rendering.COMBINATIONS.values():
        found = objects(*values)
        for deployment in (o for o in found if o["kind"] == "Deployment"):
            pod = deployment["spec"]["template"]["spec"]
            (only,) = pod["containers"]
            (stop,) = [only["lifecycle"]["preStop"]["exec"]["command"][1]]
            (drain,) = [w.partition("=")[2] for w in only["args"] if w.startswith("--drain-s")]
            assert pod["terminationGracePeriodSeconds"] >= int(stop) + int(drain) + 5


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
def test_an_empty_volume_is_told_in_one_sentence(pod, tmp_path, there):
    _, found = pod
    repository = tmp_path / "v3" / "triton"
    if there:
        repository.mkdir(parents=True)
    started = start(found, {"/models": tmp_path}, {"admin": {"admin-key": ADMIN_KEY}})
    assert started.process.wait(60) == 2
    time.sleep(0.2)
    (sentence,) = started.errors
    assert str(repository) in sentence
    assert found["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_tls_and_the_gateway_with_its_secrets(out, tmp_path):
    """A server that asks clients for certificates, and the gateway that has one, as rendered."""
    found = objects(*rendering.COMBINATIONS["mutual TLS, keys, gateway"])
    root, _, signer = certificate(tmp_path, "root")
    for name in ("tls", "client"):
        folder = tmp_path / name
        folder.mkdir()
        pem, key, _ = certificate(folder, name, signer)
        pem.rename(folder / "tls.crt")
        key.rename(folder / "tls.key")
        (folder / "ca.crt").write_bytes(root.read_bytes())
    (tmp_path / "token").mkdir()
    (tmp_path / "token" / "token").write_text(TOKEN)
    serve = container(found)
    places = {"/models": out, "/etc/bionemo-ext": tmp_path}
    started = start(serve, places, {"admin": {"admin-key": ADMIN_KEY}})
    try:
        start_up(serve, ports_of(started), started.process)
        url = started.url.replace("grpc://127.0.0.1", "grpcs://localhost")
        certificates = Tls(root, tmp_path / "client" / "tls.crt", tmp_path / "client" / "tls.key")
        with Client(url, tls=certificates) as client:
            expected = client.embed(["MKTVRQG"])
        gateway_answers(found, tmp_path, url, expected)
        assert started.end() == 0
    finally:
        started.process.kill()


def gateway_answers(found, folder, server_url, expected):
    pytest.importorskip("fastapi", reason="the extra gateway is not installed")
    deployed = container(found, "-gateway")
    assert entrypoint("gateway") == ["gateway"]
    asked, *words = local(deployed["args"], {"/etc/bionemo-ext/server": folder / "tls"})
    words = local(words, {"/etc/bionemo-ext": folder})
    assert asked == "--url=grpcs://esm2-bionemo-ext-grpc.proteins.svc:8001"
    words = [word for word in words if not word.startswith("--port")]
    with running(folder / "log", server_url, *words, LOOPBACK) as gateway:
        ports = {"http": int(gateway.url.rpartition(":")[2])}
        start_up(deployed, ports, gateway.process)
        assert probe(deployed, "livenessProbe", ports)
        assert probe(deployed, "readinessProbe", ports)
        path, body = "/v1/biology/meta/esm2-650m", {"sequences": ["MKTVRQG"], "format": "npz"}
        assert gateway.post(path, body).status_code == 401
        answer = gateway.post(path, body, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.text
        (folder / "answer.npz").write_bytes(answer.content)
        found = np.load(folder / "answer.npz")["embeddings"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        metrics = one(objects(*rendering.COMBINATIONS["cpu"]), "PodMonitor", "-gateway")
        (endpoint,) = metrics["spec"]["podMetricsEndpoints"]
        text = gateway.get(endpoint["path"]).text
        _, asked = metrics_asked_for()
        assert asked == {"bionemo_ext_gateway_request_seconds_bucket"}
        assert all(f"\n{name}{{" in text for name in asked)
