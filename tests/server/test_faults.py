"""What goes wrong around the server spoils no answer, and passes."""

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from operating import Serving, connect, echo_repository, say, strings, workers
from tritonclient.utils import InferenceServerException

from bionemo_ext.client import Client, Retry
from bionemo_ext.contract import QueuePolicy, from_pbtxt, to_pbtxt
from bionemo_ext.errors import DeadlineError, RunError, ServerError, UnavailableError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.serving import LocalServer

pytestmark = pytest.mark.server

HOST = "esm2_embed"
# A server of the tiny encoder starts in 3 s alone; other tests may run beside this one.
AGAIN_S = 30


@pytest.fixture(scope="module")
def expected(exported):
    """Means of sequences, from the encoder itself."""
    encoder = Encoder.load(exported.huggingface)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    rng = random.Random(7)
    sequences = ["".join(rng.choices(letters, k=rng.randint(1, 200))) for _ in range(40)]
    return {one: encoder.encode([one]).mean()[0].numpy() for one in sequences}


@pytest.fixture(scope="module")
def serving(exported):
    with Serving(exported.repository, "--threads", 1) as running:
        yield running


def exact(connection, expected, rng):
    """Ask for a few embeddings and hold them to the encoder's."""
    sequences = rng.sample(list(expected), rng.randint(1, 5))
    means = connection.infer(HOST, sequences, ["mean"])["mean"]
    np.testing.assert_allclose(means, [expected[one] for one in sequences], rtol=0, atol=1e-4)


def once(url, expected):
    connection = Client(url, timeout_s=60, retry=Retry.NONE)
    exact(connection, expected, random.Random(0))
    connection.close()


class Asking:
    """Threads that ask without pause; what is answered must be exact, what is not is counted."""

    def __init__(self, url, expected, threads=4):
        self.url, self.expected = url, expected
        self.answered, self.failed, self.wrong = [], [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(threads)]

    def _ask(self, seed):
        rng, connection = random.Random(seed), Client(self.url, timeout_s=20, retry=Retry.NONE)
        while not self._stop.is_set():
            try:
                exact(connection, self.expected, rng)
                self.answered.append(time.monotonic())
            except (ServerError, DeadlineError) as error:
                self.failed.append(str(error))
                time.sleep(0.1)
            except AssertionError as error:
                self.wrong.append(str(error))
        connection.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def long_proteins(letters):
    """64 different ones of the greatest length; the server computes equal ones once."""
    return [letters[0] * n + letters[1] * (1022 - n) for n in range(64)]


def wait_until(holds, within_s):
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("model", [HOST, "place"])
def test_a_worker_that_is_killed_is_started_again(serving, expected, model):
    before = len([line for line in serving.lines if line.startswith("ready")])
    with Asking(serving.url, expected) as asking:
        wait_until(lambda: len(asking.answered) > 10, 20)
        killed = time.monotonic()
        pid = workers(serving)[model]
        os.kill(pid, signal.SIGKILL)
        fault = serving.wait_for("fault", before)
        serving.wait_for("ready", before + 1, AGAIN_S)
        wait_until(lambda: asking.answered[-1] > killed + 2, AGAIN_S)
    assert fault.startswith(f"fault: the worker of '{model}_0_")
    assert f"(process {pid}) died" in fault
    assert not asking.wrong
    once(serving.url, expected)


def test_a_worker_that_was_held_up_gives_nobody_the_answer_of_another(exported, expected):
    """Triton alone would: it takes the late answer for that of the next request."""
    with LocalServer(exported.repository, threads=1) as server:
        pid = next(w.pid for w in server.workers if w.model.startswith(HOST))
        with Asking(server.url, expected) as asking:
            wait_until(lambda: len(asking.answered) > 10, 20)
            os.kill(pid, signal.SIGSTOP)
            with Asking(server.url, expected) as later:  # who comes while nothing moves
                time.sleep(2)
                os.kill(pid, signal.SIGCONT)
                time.sleep(2)  # no one starts it again here
        assert not asking.wrong + later.wrong
        server.restart()
        once(server.url, expected)


def test_who_asks_after_a_worker_was_held_up_gets_no_answer_of_another(tmp_path):
    """Of an endpoint that answers before its execution ends."""
    with LocalServer(echo_repository(tmp_path)) as server, connect(server.url) as client:
        (worker,) = server.workers
        client.async_infer("echo", strings([b"sleep 0.3"]), callback=lambda **_: None)
        time.sleep(0.1)
        os.kill(worker.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(worker.pid, signal.SIGCONT)
        for number in range(5):
            with suppress(InferenceServerException):
                assert say(client, f"after {number}") == f"after {number}"
        with pytest.raises(RunError, match=r"died or was stopped|ended with exit code"):
            server.check()
        server.restart()
        assert say(client, "again") == "again"


def test_a_server_that_is_killed_is_started_again_but_not_for_ever(tmp_path):
    with Serving(echo_repository(tmp_path)) as serving:
        for restarts in range(3):
            (server,) = children(serving.process.pid)
            os.kill(server, signal.SIGKILL)
            serving.wait_for("ready", restarts + 2)
        os.kill(children(serving.process.pid)[0], signal.SIGKILL)
        assert serving.process.wait(20) == 1
        wait_until(lambda: any("bionemo-ext: " in line for line in serving.errors), 5)
    last = serving.errors[-1]
    assert last.startswith("bionemo-ext: the server ended with exit code -9")
    assert "after 3 restarts within" in last


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_full_queue_refuses_at_once_and_spoils_nothing(exported, expected, tmp_path):
    repository = tmp_path / "repository"
    subprocess.run(["cp", "-r", str(exported.repository), str(repository)], check=True)
    config = repository / HOST / "config.pbtxt"
    endpoint = replace(from_pbtxt(config.read_text()), queue=QueuePolicy(size=4, timeout_s=60))
    config.write_text(to_pbtxt(endpoint))
    with LocalServer(repository, threads=1) as server:
        connections = [Client(server.url, timeout_s=120, retry=Retry.NONE) for _ in range(16)]

        def ask(index):
            began = time.monotonic()
            try:
                # 64 long sequences fill an execution each, so that the queue fills.
                connections[index].infer(HOST, long_proteins("AM"), ["mean"])
            except UnavailableError as error:
                return str(error), time.monotonic() - began
            return None

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(ask, range(16)))
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert 0 < len(refused) < 16
        for sentence, seconds in refused:
            assert "maximum queue size" in sentence
            assert seconds < 5
        exact(connections[0], expected, random.Random(1))


def test_a_request_that_waits_too_long_is_given_up(exported, expected, server):
    """The client's deadline passes: the server drops the request and the next answer is exact."""
    busy = Client(server.url, timeout_s=120, retry=Retry.NONE)
    hurried = Client(server.url, timeout_s=0.3, retry=Retry.NONE)
    patient = Client(server.url, timeout_s=60, retry=Retry.NONE)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(busy.infer, HOST, long_proteins("MV"), ["mean"])
        time.sleep(0.1)
        before = computed(server)
        with pytest.raises(DeadlineError):
            hurried.infer(HOST, long_proteins("WY"), ["mean"])
        long.result()
    exact(patient, expected, random.Random(2))
    # Of all that was computed since, nothing was the request that nobody waits for any more.
    assert 0.9 < (computed(server) - before) / (64 * 1022) < 1.5
    for connection in (busy, hurried, patient):
        connection.close()


def computed(server):
    """Residues that the encoder's endpoint computed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["metrics"])
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    lines = [line for line in text.splitlines() if line.startswith("bionemo_ext_residues_total")]
    assert lines
    return sum(float(line.split()[-1]) for line in lines)


VANISH = """
import sys, threading, time
from bionemo_ext.client import Client, Retry
connection = Client(sys.argv[1], timeout_s=60, retry=Retry.NONE)
proteins = ["M" * n + "W" * (1022 - n) for n in range(64)]
ask = lambda: connection.infer("esm2_embed", proteins, ["residues"])
threading.Thread(target=ask, daemon=True).start()
time.sleep(0.3)
print("asked", flush=True)
time.sleep(60)
"""


def test_a_client_that_vanishes(server, expected):
    for _ in range(3):
        gone = subprocess.Popen(
            [sys.executable, "-c", VANISH, server.url], stdout=subprocess.PIPE, text=True
        )
        assert gone.stdout.readline() == "asked\n"
        gone.kill()
        gone.communicate()
    once(server.url, expected)
    server.check()


@pytest.mark.parametrize(("endpoint", "output"), [(HOST, "mean"), ("place", "prediction")])
def test_requests_that_wait_are_answered_before_the_server_ends(exported, endpoint, output):
    """Those that are computed and those in the queues, also where one endpoint asks another."""
    with Serving(exported.repository, "--threads", 1) as serving:
        connection = Client(serving.url, timeout_s=60, retry=Retry.NONE)
        with ThreadPoolExecutor(4) as pool:
            begun = [
                pool.submit(connection.infer, endpoint, long_proteins(pair), [output])
                for pair in ("AC", "DE", "FG", "HI")
            ]
            time.sleep(0.5)
            assert not all(future.done() for future in begun)
            assert serving.end() == 0
            answers = [future.result()[output] for future in begun]
        connection.close()
    assert all(np.isfinite(answer).all() and len(answer) == 64 for answer in answers)


def test_a_model_that_does_not_load(command, tmp_path):
    repository = echo_repository(tmp_path)
    (repository / "echo" / "1" / "model.py").write_text(
        "class TritonPythonModel:\n def initialize(self, args): raise ValueError('no such weights')"
    )
    done = command("serve", repository, "--log-level", "error")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    sentence = "bionemo-ext: the model 'echo' does not load: no such weights"
    assert done.stderr.splitlines()[-1] == sentence
