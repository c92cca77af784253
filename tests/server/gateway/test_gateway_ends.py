"""A gateway whose server is away, that is full, that ends, and that cannot begin."""

import io
import signal
import socket
import threading
import time

import numpy as np
import pytest
import requests
from gateway_process import running

from bionemo_ext.serving import LocalServer

pytestmark = pytest.mark.server

EMBED = "/v1/biology/meta/esm2"


def test_a_gateway_without_its_server(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"grpc://127.0.0.1:{taken.getsockname()[1]}"
        with running(tmp_path / "log", url) as alone:
            assert alone.get("/v1/health/live").status_code == 200
            ready = alone.get("/v1/health/ready")
            assert (ready.status_code, ready.json()["ready"]) == (503, False)
            response = alone.post(EMBED, {"sequences": ["M"]})
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert "127.0.0.1" in response.json()["message"]
            assert alone.get("/openapi.json").status_code == 200


def slow(gateway, answers, residues):
    """A scan that takes a pass a residue."""
    body = {"sequence": "M" * residues, "method": "masked"}
    answers.append(gateway.post("/api/scan", body))


def wait_until_under_way(gateway):
    for _ in range(200):
        text = gateway.get("/v1/metrics").text
        if "bionemo_ext_gateway_under_way 2.0" in text:  # the question itself is one
            return
        time.sleep(0.05)
    raise AssertionError("the scan did not begin")


def test_who_finds_no_place_is_told_when_to_come_again(server, tmp_path):
    options = ("--under-way", "1", "--waiting", "0")
    with running(tmp_path / "log", server.url, *options) as full:
        answers = []
        scan = threading.Thread(target=slow, args=(full, answers, 350))
        scan.start()
        wait_until_under_way(full)
        response = full.post(EMBED, {"sequences": ["M"]})
        # SIGTERM while the scan is under way: it is answered, and then the gateway ends.
        full.process.send_signal(signal.SIGTERM)
        scan.join()
    assert (response.status_code, response.headers["retry-after"]) == (429, "5")
    assert answers[0].status_code == 200


def test_patience_ends_with_a_sentence(server, tmp_path):
    with running(tmp_path / "log", server.url, "--drain-s", "1") as ending:
        answers = []
        scan = threading.Thread(target=slow, args=(ending, answers, 1000))
        scan.start()
        wait_until_under_way(ending)
        ending.process.send_signal(signal.SIGINT)
        scan.join()
        assert ending.process.wait(60) == 0
    assert (answers[0].status_code, answers[0].json()["message"][:16]) == (503, "the gateway ends")
    assert not [line for line in ending.log() if "trace" in line]


def test_no_answer_in_time(server, tmp_path):
    with running(tmp_path / "log", server.url, "--timeout", "1") as hasty:
        answers = []
        slow(hasty, answers, 1000)
    assert answers[0].status_code == 504


@pytest.mark.slow
def test_a_server_that_starts_again_is_waited_for(exported, tmp_path):
    with (
        LocalServer(exported.repository, threads=1) as restarting,
        running(tmp_path / "log", restarting.url) as patient,
    ):
        body = {"sequences": ["MKTVRQG", "M"]}
        before = np.load(io.BytesIO(patient.post(EMBED, body).content))
        statuses, answers = [], []

        def ask():
            while (status := patient.get("/v1/health/ready").status_code) == 200:
                time.sleep(0.02)
            statuses.append(status)
            answers.append(patient.post(EMBED, body))

        caller = threading.Thread(target=ask)
        caller.start()
        restarting.restart()
        caller.join()
        assert (statuses, answers[0].status_code) == ([503], 200), answers[0].text
        after = np.load(io.BytesIO(answers[0].content))
        np.testing.assert_array_equal(after["embeddings"], before["embeddings"])
        assert patient.get("/v1/health/ready").status_code == 200


def test_a_caller_that_goes_away_frees_its_place(server, tmp_path):
    options = ("--under-way", "1", "--waiting", "0")
    with running(tmp_path / "log", server.url, *options) as small:
        body = {"sequence": "M" * 1000, "method": "masked"}  # many seconds
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{small.url}/api/scan", json=body, timeout=1)
        began = time.monotonic()
        while (status := small.post("/api/tracks", {"sequence": "MKT"}).status_code) == 429:
            assert time.monotonic() - began < 30
            time.sleep(0.05)
        assert status == 200
        assert [line["status"] for line in small.log() if line["path"] == "/api/scan"] == [499]


def test_a_port_in_use_is_a_sentence(refusal, gateway):
    port = gateway.url.rpartition(":")[2]
    code, sentence = refusal("gateway", "--url", "grpc://127.0.0.1:1", "--port", port)
    assert code == 1
    assert sentence == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_options_that_cannot_work_are_a_sentence(refusal, tmp_path):
    url = ("--url", "grpc://127.0.0.1:1")
    code, sentence = refusal("gateway", *url, "--token-file", tmp_path / "none")
    assert (code, "cannot be read" in sentence) == (2, True)
    assert refusal("gateway", "--url", "127.0.0.1:1")[0] == 2
