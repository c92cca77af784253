"""What is tried again and what is not, for how long, and what the caller is told."""

import re
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from proxy import Proxy

from bionemo_ext import errors
from bionemo_ext.client import Client, Retry
from bionemo_ext.client.wire.failures import grpc_class

pytestmark = pytest.mark.server

QUICK = Retry(first_s=0.01, most_s=0.05)
QUEUE_FULL = (grpc.StatusCode.UNAVAILABLE, "the queue is full: x has a maximum queue size of 1")
STOPPING = (grpc.StatusCode.UNAVAILABLE, "Server is stopping, scheduler for model has stopped")
DEAD_WORKER = (grpc.StatusCode.INTERNAL, "Stub process 'esm2_embed_0_0' is not healthy.")
GONE = (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'esm2_embed' is not found")
PASSING = {
    "full queue": QUEUE_FULL,
    "stopping": STOPPING,
    "dead worker": DEAD_WORKER,
    "gone for now": GONE,
    "exhausted": (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests"),
}


@pytest.fixture
def proxy(server):
    with Proxy(server.url) as running:
        yield running


@pytest.mark.parametrize("case", PASSING)
def test_what_may_pass_is_tried_again(proxy, client, case):
    with Client(proxy.url, retry=QUICK) as connected:
        connected.embed("MKT")
        proxy.failures = [PASSING[case]] * 4
        found = connected.embed("MKTVRQG")
    np.testing.assert_allclose(found, client.embed("MKTVRQG"), rtol=0, atol=1e-5)
    assert len(proxy.seen) == 6


PERMANENT = sorted(
    set(grpc.StatusCode) - {grpc.StatusCode.OK, *(status for status, _ in PASSING.values())}
    | {grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND},
    key=str,
)


@pytest.mark.parametrize("status", PERMANENT, ids=lambda status: status.name)
def test_every_other_status_is_told_at_once_as_its_class(proxy, status):
    proxy.failures = [(status, "said\nso")]
    with Client(proxy.url) as connected, pytest.raises(errors.BionemoExtError) as caught:
        connected.embed("MKT")
    assert type(caught.value) is grpc_class(str(status))
    assert str(caught.value).endswith("said so")
    assert len(proxy.seen) == 1


def test_what_is_too_large_is_so_the_next_time_too(proxy):
    told = "Received message larger than max (5 vs. 4)"
    proxy.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, told)]
    with Client(proxy.url) as connected, pytest.raises(errors.RequestError) as caught:
        connected.embed("MKT")
    assert str(caught.value) == f"the server refused the request: {told}"
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("case", PASSING)
def test_no_retries_where_none_are_wanted(proxy, case):
    proxy.failures = [PASSING[case]]
    kinds = {"dead worker": errors.ServerError, "gone for now": errors.NotFoundError}
    busy = errors.BusyError if case in ("full queue", "exhausted") else errors.UnavailableError
    connected = Client(proxy.url, retry=Retry.NONE)
    with connected, pytest.raises(errors.BionemoExtError) as caught:
        connected.embed("MKT")
    assert type(caught.value) is kinds.get(case, busy)
    assert PASSING[case][1] in str(caught.value)
    assert len(proxy.seen) == 1


def test_as_many_attempts_as_are_wanted(proxy):
    proxy.failures = [STOPPING] * 9
    connected = Client(proxy.url, retry=Retry(3, 0.01, 0.02))
    told = r"has stopped \(tried 3 times in \d\.\d s"
    with connected, pytest.raises(errors.UnavailableError, match=told):
        connected.embed("MKT")
    assert len(proxy.seen) == 3


def test_waits_grow_and_differ(proxy):
    proxy.failures = [QUEUE_FULL] * 6
    with Client(proxy.url, retry=Retry(first_s=0.1, most_s=0.4, jitter=0.2)) as connected:
        connected.embed("MKT")
    waits = np.diff([at for at, *_ in proxy.seen])
    for wait, expected in zip(waits, (0.1, 0.2, 0.4, 0.4, 0.4, 0.4), strict=True):
        assert wait > 0.8 * expected
    assert len({round(float(wait), 4) for wait in waits[2:]}) > 1


def test_the_remaining_time_goes_along(proxy):
    """As gRPC's deadline and as Triton's own, in microseconds, less with every attempt."""
    proxy.failures = [QUEUE_FULL] * 2
    with Client(proxy.url, timeout_s=60, retry=Retry(first_s=0.5, most_s=0.5)) as connected:
        connected.embed("MKT")
    (_, left, request), _, (_, last_left, last_request) = proxy.seen
    said, last_said = (one.parameters["timeout"].int64_param for one in (request, last_request))
    assert 55 < said / 1e6 <= 60
    # gRPC sends a deadline to within a few per cent, so as to send the same text again.
    assert said / 1e6 == pytest.approx(left, rel=0.05)
    assert last_said / 1e6 == pytest.approx(last_left, rel=0.05)
    assert (said - last_said) / 1e6 > 0.7  # after two waits of half a second, give or take a fifth


CASES = ("slow answer", "full queue", "nobody")


def lateness(proxy, case):
    """Seconds after a deadline of 0.7 at which the caller was told, and what that was."""
    with Client(proxy.url, timeout_s=0.7, retry=Retry(first_s=0.05)) as connected:
        proxy.failures, proxy.wait_s = [], 0.0
        connected.embed("MKT")
        if case == "slow answer":
            proxy.wait_s = 1.5
        elif case == "full queue":
            proxy.failures = [QUEUE_FULL] * 1000
        else:
            proxy.__exit__()
        began = time.monotonic()
        with pytest.raises(errors.ServerError) as caught:
            connected.embed("MKTVRQG")
        return time.monotonic() - began - 0.7, caught.value


@pytest.mark.parametrize("case", CASES)
def test_the_deadline_is_kept(proxy, case):
    late, error = lateness(proxy, case)
    assert -0.05 < late < 5  # the machine may be busy with other tests
    if case == "nobody":
        assert type(error) is errors.UnavailableError
        assert re.search(r"tried \d+ times in 0\.7 s, at last: connection refused", str(error))
    else:
        assert type(error) is errors.DeadlineError
        assert "did not answer in time" in str(error)


@pytest.mark.slow  # a quiet machine, too
@pytest.mark.parametrize("case", CASES)
def test_the_deadline_is_kept_to_within_100_ms(server, case):
    for _ in range(10):
        with Proxy(server.url) as proxy:
            late, _ = lateness(proxy, case)
        assert -0.01 < late < 0.1


def test_an_address_that_takes_connections_and_says_nothing(server):
    """A deadline is kept also while the protocol is being agreed."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for scheme, kind in (("grpc", errors.ServerError), ("http", errors.DeadlineError)):
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
            with Client(url, timeout_s=1) as connected:
                began = time.monotonic()
                with pytest.raises(kind, match=r"no answer|did not answer in time"):
                    connected.embed("MKT")
                assert time.monotonic() - began < 5


def test_tokens_reach_the_server(proxy):
    proxy.token = "a-token"  # noqa: S105 (of nothing)
    with Client(proxy.url, token="a-token") as connected:  # noqa: S106
        assert connected.embed("MKT").shape == (1, 64)
    for words, told in (
        ({}, "the server refused the request: a token is needed"),
        ({"token": "another"}, "the server refused the request: the token is not known"),
    ):
        with Client(proxy.url, **words) as connected, pytest.raises(errors.RequestError) as caught:
            connected.embed("MKT")
        assert str(caught.value) == told


def test_a_stream_that_is_abandoned_gives_up_its_requests(proxy):
    """Peptides make 32 requests a chunk; one chunk is whole when the first result comes."""
    before = threads_of_clients()
    proxy.wait_s = 0.1
    with Client(proxy.url) as connected:
        stream = connected.stream(("MK" for _ in range(20_000)), ("mean",))
        assert next(stream).name == "1"
        assert len(proxy.seen) >= 32
        stream.close()
        time.sleep(1.5)  # for as long as the second chunk would have taken
        assert len(proxy.seen) < 50
        assert connected.embed("MKT").shape == (1, 64)
    assert threads_of_clients() == before


def threads_of_clients():
    return {thread for thread in threading.enumerate() if thread.name == "bionemo-ext-client"}
