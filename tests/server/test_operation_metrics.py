"""What a busy server tells an autoscaler: how many wait for the encoder, and for how long."""

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


def read(serving, name):
    """A metric of the encoder; 0 before its first value."""
    with urlopen(f"http://127.0.0.1:{serving.metrics}/metrics") as reply:
        text = reply.read().decode()
    found = re.search(rf'^{name}{{[^}}]*model="esm2_embed"[^}}]*}} (\S+)$', text, re.MULTILINE)
    assert found, name
    return float(found[1])


def test_the_queue_of_the_encoder_shows_while_it_is_there(serving):
    """Triton's own metrics of queues do not: the encoder's endpoint keeps the queue."""
    pending, began = [], time.monotonic()
    output = [triton.InferRequestedOutput("mean")]
    with ThreadPoolExecutor(COUNT) as pool, connect(serving.url) as client:
        asked = [
            pool.submit(client.infer, "esm2_embed", SEQUENCES, outputs=output) for _ in range(COUNT)
        ]
        while not all(one.done() for one in asked):
            pending.append(read(serving, "bionemo_ext_pending_requests"))
        for one in asked:
            one.result()
    took = time.monotonic() - began
    assert max(pending) >= COUNT / 3
    assert read(serving, "bionemo_ext_pending_requests") == 0
    assert read(serving, "bionemo_ext_queued_requests_total") == COUNT
    waited = read(serving, "bionemo_ext_queue_us_total") / 1e6
    # As they are answered one after the other, one waits for half of the time.
    assert COUNT / 8 * took < waited < COUNT * took
    assert read(serving, "nv_inference_queue_duration_us") / 1e6 < waited / 3
