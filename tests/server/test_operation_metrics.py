"""What a busy server tells: how many wait for the encoder, for how long, and how long all takes."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest
import tritonclient.grpc as triton
from operating import Serving, connect, strings

pytestmark = pytest.mark.server

COUNT = 24
# More than half a pass, so each request is a pass of its own; equal ones are computed once.
SEQUENCES = strings([b"MKTVRQGLWE" * 30 + b"G" * i for i in range(20)])


@pytest.fixture(scope="module")
def serving(exported):
    with Serving(exported.repository, "--threads", "1") as running:
        yield running


def metrics(serving):
    with urlopen(f"http://127.0.0.1:{serving.metrics}/metrics") as reply:
        return reply.read().decode()


def read(serving, name, model="esm2_embed"):
    """A metric of an endpoint; 0 before its first value."""
    found = re.search(
        rf'^{name}{{[^}}]*model="{model}"[^}}]*}} (\S+)$', metrics(serving), re.MULTILINE
    )
    assert found, name
    return float(found[1])


def wait_for(condition):
    """What is counted after a request was answered."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def buckets(serving, model):
    """Requests that took as long at most, by the seconds."""
    line = rf'^bionemo_ext_request_seconds_bucket{{model="{model}",le="(\S+)"}} (\S+)$'
    found = re.findall(line, metrics(serving), re.MULTILINE)
    return {float(le): float(count) for le, count in found}


def test_the_queue_of_the_encoder_shows_while_it_is_there(serving):
    """Triton's own metrics of queues do not: the encoder's endpoint keeps the queue."""
    pending, began = [], time.monotonic()
    output = [triton.InferRequestedOutput("mean")]
    with ThreadPoolExecutor(COUNT) as pool, connect(serving.url) as client:

        def ask():
            start = time.monotonic()
            client.infer("esm2_embed", SEQUENCES, outputs=output)
            return time.monotonic() - start

        asked = [pool.submit(ask) for _ in range(COUNT)]
        while not all(one.done() for one in asked):
            pending.append(read(serving, "bionemo_ext_pending_requests"))
        times = [one.result() for one in asked]
    took = time.monotonic() - began
    assert max(pending) >= COUNT / 3
    assert read(serving, "bionemo_ext_pending_requests") == 0
    assert read(serving, "bionemo_ext_queued_requests_total") == COUNT
    waited = read(serving, "bionemo_ext_queue_us_total") / 1e6
    # As they are answered one after the other, one waits for half of the time.
    assert COUNT / 8 * took < waited < COUNT * took
    assert read(serving, "nv_inference_queue_duration_us") / 1e6 < waited / 3
    wait_for(lambda: read(serving, "bionemo_ext_request_seconds_count") == COUNT)
    # Each took less at the server than here, and more than it waited.
    assert waited < read(serving, "bionemo_ext_request_seconds_sum") < sum(times)
    at_most = buckets(serving, "esm2_embed")
    assert at_most.pop(float("inf")) == COUNT
    assert all(count >= sum(t <= le for t in times) for le, count in at_most.items())
    assert at_most[0.005] < COUNT  # nor were all of them called quick


def test_the_time_of_a_request_is_that_of_its_endpoint(serving):
    """Of one that another endpoint asks the encoder for too; not of one that was refused."""
    embedded = read(serving, "bionemo_ext_request_seconds_count")
    with connect(serving.url) as client:
        client.infer("esm2_logits", strings([b"MKTVRQG"]))
        with pytest.raises(triton.InferenceServerException):
            client.infer("esm2_logits", strings([b"MKT1"]))
        client.infer("esm2_logits", strings([b"MKTVRQG"]))
    wait_for(lambda: read(serving, "bionemo_ext_request_seconds_count", "esm2_logits") >= 2)
    assert read(serving, "bionemo_ext_request_seconds_count", "esm2_logits") == 2
    wait_for(lambda: read(serving, "bionemo_ext_request_seconds_count") >= embedded + 2)
    assert read(serving, "bionemo_ext_request_seconds_count") == embedded + 2
    assert 0 < read(serving, "bionemo_ext_request_seconds_sum", "esm2_logits") < 60
