"""What the server is run with: closed interfaces, TLS, drain, a folder that it cannot write to."""

import http.client
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from certificates import certificate
from operating import OBEYING, Serving, connect, echo_repository, say, strings
from tritonclient.utils import InferenceServerException

from bionemo_ext.errors import InputError
from bionemo_ext.serving import Control, LocalServer, Policy, Tls

pytestmark = pytest.mark.server

REFUSED = r"restricted|not allowed"
KEY = "a-key-of-the-tests"


def changes(client, headers=None):
    """Calls that change the server or map its memory, by name."""
    return {
        "system": lambda: client.register_system_shared_memory("x", "/x", 8, headers=headers),
        "cuda": lambda: client.register_cuda_shared_memory("x", b"eA==", 0, 8, headers=headers),
        "unregister": lambda: client.unregister_system_shared_memory(headers=headers),
        "status": lambda: client.get_system_shared_memory_status(headers=headers),
        "trace": lambda: client.update_trace_settings(None, {"trace_rate": "2"}, headers=headers),
        "log": lambda: client.update_log_settings({"log_verbose_level": 1}, headers=headers),
        "load": lambda: client.load_model("echo", headers=headers),
        "files": lambda: client.load_model(
            "new", headers=headers, config="{}", files={"file:1/model.py": b"print()"}
        ),
        "unload": lambda: client.unload_model("echo", headers=headers),
    }


def ask_http(port, path, body="{}", headers=None, method="POST"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


def test_clients_change_nothing(server):
    with connect(server.url) as client:
        for name, call in changes(client).items():
            with pytest.raises(InferenceServerException, match=REFUSED) as caught:
                call()
            assert caught.value.status() == "StatusCode.UNAVAILABLE", name


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/systemsharedmemory/region/x/register", 403),
        ("/v2/cudasharedmemory/region/x/register", 403),
        ("/v2/systemsharedmemory/unregister", 403),
        ("/v2/trace/setting", 403),
        ("/v2/models/esm2_embed/trace/setting", 403),
        ("/v2/logging", 403),
        ("/v2/repository/models/esm2_embed/load", 503),
        ("/v2/repository/models/esm2_embed/unload", 503),
    ],
)
def test_clients_change_nothing_over_http(server, path, status):
    assert ask_http(server.ports["http"], path)[0] == status
    # What clients must know stays open.
    assert ask_http(server.ports["http"], "/v2/repository/index")[0] == 200


def test_what_is_opened_is_open(tmp_path):
    policy = Policy(opened=frozenset(Control))
    repository = echo_repository(tmp_path)
    with LocalServer(repository, policy=policy) as server, connect(server.url) as client:
        calls = changes(client)
        for name in ("status", "unregister", "trace", "log", "load"):
            calls[name]()
        client.unload_model("echo")
        deadline = time.monotonic() + 20
        while client.is_model_ready("echo") and time.monotonic() < deadline:
            time.sleep(0.05)
        server.check()  # a model that was unloaded is no fault
        client.load_model("echo")
        assert say(client, "back") == "back"
        server.check()


def test_the_key_opens_and_another_does_not(tmp_path):
    policy = Policy(admin_key=KEY)
    with LocalServer(echo_repository(tmp_path), policy=policy) as server:
        with connect(server.url) as client:
            header = "triton-grpc-protocol-admin-key"
            for name, call in changes(client, {header: KEY}).items():
                if name in ("status", "trace", "log"):
                    call()
            with pytest.raises(InferenceServerException, match="restricted"):
                changes(client, {header: KEY[:-1]})["log"]()
        assert ask_http(server.ports["http"], "/v2/logging", headers={"admin-key": KEY})[0] == 200


@pytest.mark.parametrize("key", ["short", "sixteen letters, and a comma", "é" * 16])
def test_a_key_that_is_none(key):
    with pytest.raises(InputError, match="the admin key must have at least 16 letters"):
        Policy(admin_key=key)


@pytest.fixture
def certificates(tmp_path):
    root, _, signer = certificate(tmp_path, "root")
    return (
        root,
        certificate(tmp_path, "server", signer)[:2],
        certificate(tmp_path, "me", signer)[:2],
    )


def test_tls(certificates, tmp_path):
    root, (own, key), (mine, my_key) = certificates
    repository = echo_repository(tmp_path / "repository")
    with LocalServer(repository, policy=Policy(tls=Tls(own, key), admin_key=KEY)) as server:
        address = f"localhost:{server.ports['grpc']}"
        with connect(address, ssl=True, root_certificates=str(root)) as client:
            assert say(client, "secret") == "secret"
        with connect(address) as plain, pytest.raises(InferenceServerException):
            say(plain, "secret", client_timeout=5)
        # HTTP has no TLS: health, but no sequences.
        port = server.ports["http"]
        assert ask_http(port, "/v2/health/ready", method="GET")[0] == 200
        tensor = {"name": "sequence", "shape": [1, 1], "datatype": "BYTES", "data": ["secret"]}
        ask = (port, "/v2/models/echo/infer", json.dumps({"inputs": [tensor]}))
        assert ask_http(*ask)[0] == 403
        assert ask_http(*ask, headers={"admin-key": KEY})[0] == 200
    with LocalServer(repository, policy=Policy(tls=Tls(own, key, root))) as server:
        address = f"localhost:{server.ports['grpc']}"
        files = {"private_key": str(my_key), "certificate_chain": str(mine)}
        with connect(address, ssl=True, root_certificates=str(root), **files) as client:
            assert say(client, "secret") == "secret"
        stranger = connect(address, ssl=True, root_certificates=str(root))
        with stranger, pytest.raises(InferenceServerException):
            say(stranger, "secret", client_timeout=5)


def test_tls_with_wrong_files(certificates, refusal, tmp_path):
    root, (own, _), (_, my_key) = certificates
    repository = echo_repository(tmp_path / "repository")
    (tmp_path / "empty.pem").touch()
    for words, sentence in (
        (("--tls-cert", own), "TLS needs both --tls-cert and --tls-key"),
        (("--tls-cert", own, "--tls-key", "x"), "there is no file x, which TLS needs"),
        (
            ("--tls-cert", own, "--tls-key", my_key),
            f"{own} and {my_key} are not a PEM certificate and its private key "
            "(KEY_VALUES_MISMATCH)",
        ),
    ):
        assert refusal("serve", repository, *words) == (2, sentence)
    with pytest.raises(InputError, match=r"empty\.pem has no PEM certificates"):
        Tls(own, tmp_path / "server.key", tmp_path / "empty.pem")
    assert root.is_file()


def test_requests_under_way_are_answered_before_the_server_ends(tmp_path):
    answers = []
    serving = Serving(echo_repository(tmp_path, "echo", "other"))
    with serving, connect(serving.url) as first, connect(serving.url) as second:

        def ask(endpoint):
            answers.append(say(first, f"sleep 2 {endpoint}", endpoint))

        threads = [threading.Thread(target=ask, args=(n,)) for n in ("echo", "other")]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        serving.process.terminate()
        time.sleep(0.7)
        with pytest.raises(InferenceServerException):  # readiness goes first
            second.is_server_ready(client_timeout=1)
        assert not answers
        for thread in threads:
            thread.join()
        assert serving.end() == 0
    assert sorted(answers) == ["sleep 2 echo", "sleep 2 other"]
    assert time.monotonic() - began < 15
    assert serving.lines[-1] == "stopped"


def test_a_request_that_takes_longer_than_the_drain_does_not_hold_the_server(tmp_path):
    serving = Serving(echo_repository(tmp_path), "--drain-s", 1)
    with serving, connect(serving.url) as client:
        client.async_infer("echo", strings([b"sleep 30"]), callback=lambda **_: None)
        time.sleep(0.5)
        began = time.monotonic()
        assert serving.end() == 0
        assert time.monotonic() - began < 10


def test_a_folder_that_the_server_cannot_write_to(exported, tmp_path):
    repository = shutil.copytree(exported.repository, tmp_path / "repository")
    for path in [repository, *repository.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    touch = [*OBEYING, "-c", f"open({str(repository / 'x')!r}, 'w')"]
    assert "PermissionError" in subprocess.run(touch, capture_output=True, text=True).stderr
    serving = Serving(repository, "--threads", 1, python=OBEYING)
    with serving, connect(serving.url) as client:
        reply = client.infer("esm2_embed", strings([b"MKTVRQG"]))
        assert np.isfinite(reply.as_numpy("mean")).all()


def test_serve_says_where_health_and_metrics_are(tmp_path):
    with Serving(echo_repository(tmp_path), "--json") as serving:
        pass
    ready, stopped = map(json.loads, serving.lines)
    assert ready == {
        "event": "ready",
        "url": serving.url,
        "health": f"http://127.0.0.1:{serving.http}/v2/health/ready",
        "metrics": f"http://127.0.0.1:{serving.metrics}/metrics",
        "endpoints": ["echo"],
    }
    assert stopped == {"event": "stopped"}


def test_the_log_as_json_lines(exported):
    options = ("--json", "--log-level", "info", "--threads", 1)
    with (
        Serving(exported.repository, *options) as serving,
        connect(serving.url) as client,
    ):
        client.infer("esm2_embed", strings([b"MKTVRQG"]), request_id="mine")
    lines = [json.loads(line) for line in serving.errors]
    assert {"time", "level"} <= set.intersection(*map(set, lines))
    (request,) = (line for line in lines if line.get("request_id") == "mine")
    assert (request["level"], request["residues"], request["outcome"]) == ("info", 7, "ok")
    (message,) = (line["message"] for line in lines if "GRPCInferenceService" in str(line))
    assert message.startswith("Started GRPCInferenceService at 127.0.0.1:")


def test_the_printed_command_is_what_runs(command, tmp_path):
    repository = echo_repository(tmp_path)
    with LocalServer(repository) as server:
        running = Path(f"/proc/{server.pid}/cmdline").read_text().strip("\0").split("\0")
        ports = [w for s, p in server.ports.items() for w in (f"--{s}-port", p)]
    done = command("serve", repository, "--print-command", *ports)
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.split()
    assert len(printed) == len(running)
    own = ("--backend-directory=", "--backend-config=")  # drawn anew for each server
    for ours, theirs in zip(printed, running, strict=True):
        if ours.startswith(own):
            assert theirs.partition("=")[0] == ours.partition("=")[0]
        else:
            assert ours == theirs.replace(server.policy.admin_key, "$BIONEMO_EXT_ADMIN_KEY")


def test_a_cache_answers_what_was_asked_before(exported):
    policy = Policy(cache_bytes=64 * 2**20)
    serving = LocalServer(exported.repository, threads=1, policy=policy)
    with serving as server, connect(server.url) as client:
        maps = [
            client.infer("esm2_contacts", strings([text])).as_numpy("contacts")
            for text in (b"MKTVRQG", b"ACDEFGHIK", b"MKTVRQG")
        ]
        (found,) = client.get_inference_statistics("esm2_contacts").model_stats
    np.testing.assert_array_equal(maps[0], maps[2])
    assert (found.inference_stats.cache_hit.count, found.inference_stats.cache_miss.count) == (1, 2)


def test_a_request_that_is_too_large_is_one_sentence(server):
    with connect(server.url) as client:
        began = time.monotonic()
        with pytest.raises(InferenceServerException) as caught:
            client.infer("esm2_embed", strings([b"M" * 50_000_000]))
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert "record '1 of 1' has 50,000,000 residues, the limit is 1,022" in str(caught.value)
        with pytest.raises(InferenceServerException, match="batch-size must be <= 64") as caught:
            client.infer("esm2_embed", strings([b"M"] * 65))
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert time.monotonic() - began < 20
        assert np.isfinite(client.infer("esm2_embed", strings([b"MKT"])).as_numpy("mean")).all()
