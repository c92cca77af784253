"""Several servers: all are used, one that dies is left out and taken back, nothing is lost."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import threading
import time

import numpy as np
import pytest
from operating import connect
from proxy import Proxy

from bionemo_ext.client import Client, Retry
from bionemo_ext.client.streaming.inputs import tensors
from bionemo_ext.client.wire.access import Access
from bionemo_ext.client.wire.address import parse_addresses
from bionemo_ext.client.wire.connection import Connection
from bionemo_ext.contract import HOST
from bionemo_ext.errors import UnavailableError
from bionemo_ext.serving import LocalServer

pytestmark = pytest.mark.server

RETRY = Retry(first_s=0.05, most_s=0.5)
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def other(exported):
    """A second server, which may be killed."""
    with LocalServer(exported.repository, threads=1) as running:
        yield running


@pytest.fixture(scope="module")
def expected(client):
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 200, 60)
    proteins = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), size)) for size in sizes]
    return dict(zip(proteins, client.embed(proteins), strict=True))


def answered(server):
    """Requests that the encoder's endpoint of a server has answered."""
    with connect(server.url) as raw:
        stats = raw.get_inference_statistics(HOST).model_stats[0]
        return stats.inference_stats.success.count


def kill(server):
    os.kill(server.pid, signal.SIGKILL)


class Workers:
    """Threads that embed without pause and hold every answer to what is expected."""

    def __init__(self, client, expected, count=4):
        self.done, self.errors = [], []
        self._client, self._expected = client, expected
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(count)]

    def _run(self, seed):
        rng = random.Random(seed)
        while not self._stop.is_set():
            proteins = rng.sample(list(self._expected), 5)
            try:
                found = self._client.embed(proteins)
                truth = [self._expected[protein] for protein in proteins]
                np.testing.assert_allclose(found, truth, **CLOSE)
            except Exception as error:  # the test fails with it, from its own thread
                self.errors.append(error)
                return
            self.done.append(time.monotonic())

    def more(self, count, within_s=60):
        """Wait until ``count`` more answers came, or one was wrong."""
        goal, end = len(self.done) + count, time.monotonic() + within_s
        while len(self.done) < goal and not self.errors and time.monotonic() < end:
            time.sleep(0.02)
        assert not self.errors, self.errors[0]
        assert len(self.done) >= goal

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_both_are_used_and_one_that_dies_is_left_out_and_taken_back(server, other, expected):
    with Client([server.url, other.url], retry=RETRY) as client:
        with Workers(client, expected) as workers:
            before = answered(server), answered(other)
            workers.more(40)
            shares = answered(server) - before[0], answered(other) - before[1]
            assert min(shares) > 0.2 * sum(shares)
            kill(other)
            before = answered(server)
            workers.more(40)
            assert answered(server) - before >= 36  # some were under way
            other.restart()
            end = time.monotonic() + 30
            while not answered(other) and time.monotonic() < end:
                workers.more(1)
            workers.more(20)
            assert answered(other) > 5
        assert not workers.errors


def test_a_job_waits_for_its_only_server_to_come_back(other, expected):
    proteins = list(expected) * 40
    records = iter(proteins)
    with Client(other.url, retry=RETRY, timeout_s=60) as client:
        found = []
        stream = threading.Thread(
            target=lambda: found.extend(client.stream(records, ("mean",))), daemon=True
        )
        before = answered(other)
        stream.start()
        while answered(other) - before < 5:
            time.sleep(0.01)
        kill(other)
        other.restart()
        stream.join(60)
    assert [result.sequence for result in found] == proteins
    truth = [expected[protein] for protein in proteins]
    np.testing.assert_allclose([result.values["mean"] for result in found], truth, **CLOSE)


def test_a_server_that_was_there_is_waited_for_and_not_longer_than_the_deadline(server):
    with Proxy(server.url) as proxy:
        client = Client(proxy.url, retry=RETRY, timeout_s=1.5)
        client.embed("MKT")
    began = time.monotonic()
    with client, pytest.raises(UnavailableError, match=r"tried \d+ times in 1\.5 s, at last: conn"):
        client.embed("MKT")
    assert 1.4 < time.monotonic() - began < 5


def test_a_full_queue_sends_a_request_to_the_other_at_once(server):
    import grpc

    full = (grpc.StatusCode.UNAVAILABLE, "the queue is full: x has a maximum queue size of 1")
    with Proxy(server.url) as one, Proxy(server.url) as two:
        one.failures = [full] * 1000
        slow = Retry(first_s=30, most_s=30)
        with Client(f"{one.url},{two.url}", retry=slow) as client:
            for _ in range(10):
                began = time.monotonic()
                client.embed("MKT")
                assert time.monotonic() - began < 10
        assert len(two.seen) == 10
        assert 3 <= len(one.seen) <= 7  # and it is not left out, for it is well


def test_one_that_failed_is_left_out(server):
    """A door that is shut in everybody's face is knocked at once, and not by every request."""
    knocks = []
    with socket.create_server(("127.0.0.1", 0)) as shut:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    knocks.append(shut.accept()[0].close())

        threading.Thread(target=answer, daemon=True).start()
        urls = [
            f"http://127.0.0.1:{port}" for port in (server.ports["http"], shut.getsockname()[1])
        ]
        with Client(urls, retry=Retry(first_s=60, most_s=60)) as client:
            for _ in range(30):
                client.embed("MKT")
        shut.shutdown(socket.SHUT_RDWR)
    # aiohttp knocks again by itself where a kept connection was closed.
    assert 1 <= len(knocks) <= 2


def test_every_address_of_a_name_is_a_server(server):
    """As behind a headless service: both are used, and the name is looked up when one fails."""
    addresses = ["127.0.0.1", "127.0.0.2"]
    looked = []

    async def look_up(host, port):
        looked.append(host)
        return list(addresses)

    async def run(connection, times):
        arrays = tensors(["MKT"], {}, [0])
        for _ in range(times):
            found = await connection.infer(HOST, arrays, ["mean"])
            assert found["mean"].shape == (1, 64)

    with Proxy(server.url) as one, Proxy(server.url, "127.0.0.2", one.port) as two:
        urls = parse_addresses(f"grpc://pods.example:{one.port}")
        connection = Connection(urls, Access(), 60, RETRY, look_up)

        async def main():
            await run(connection, 10)
            assert (len(one.seen), len(two.seen)) == (5, 5)
            assert looked == ["pods.example"]
            addresses[:] = ["127.0.0.2", "127.0.0.3"]
            one.__exit__()
            with Proxy(server.url, "127.0.0.3", one.port) as three:
                await run(connection, 20)
                assert looked == ["pods.example"] * 2
                assert len(three.seen) >= 5
                assert len(three.seen) + len(two.seen) == 25
            await connection.close()

        asyncio.run(main())


def test_a_name_without_an_address():
    with Client("grpc://no-such-host.invalid:8001") as client:
        assert not client.ready()
        began = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            client.embed("MKT")
        assert "name 'no-such-host.invalid'" in str(caught.value)
        assert time.monotonic() - began < 20
