"""Thousands of malformed requests: none gets an answer, none spoils that of another."""

import http.client
import json
import random
import struct
import time

import grpc
import numpy as np
import pytest
from operating import connect, strings
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from bionemo_ext.inference.encoder import Encoder

pytestmark = pytest.mark.server

HOST = "esm2_embed"
GOOD = ("MKTVRQGLLL", "ACDEFGHIKLMNPQRSTVWY", "GG")
# Codes that say whose fault it is: the request's.
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "OUT_OF_RANGE"}


def bad_sequence(rng):
    """Bytes that are no protein of 1 to 1,022 residues."""
    return rng.choice(
        (
            lambda: b"",
            lambda: b" \n\t",
            lambda: b"M" * rng.randint(1023, 5000),
            lambda: b"MK" + bytes(rng.randrange(256) for _ in range(rng.randint(0, 9))) + b"\xff",
            lambda: b"MK" + rng.choice([b"1", b"?", b"J", b"<mask>", b"\x00", b"<cls>", b"@"]),
            lambda: ("MK" + rng.choice("αß漢😀")).encode(),
            lambda: b"ACGT" * rng.randint(10, 200),
            lambda: b">name\nMKTV",
        )
    )()


def sequences(rng):
    """A request whose tensor is in order, and whose content is not."""
    count = rng.randint(1, 8)
    values = [b"MKTV"] * count
    values[rng.randrange(count)] = bad_sequence(rng)
    return request(strings(values)[0]._get_content())


def request(content, endpoint=HOST, datatype="BYTES", shape=(1, 1), name="sequence", outputs=()):
    """A request as it goes over the wire, where nothing checks it before the server does."""
    made = pb.ModelInferRequest(model_name=endpoint)
    made.inputs.add(name=name, datatype=datatype, shape=list(shape))
    for output in outputs:
        made.outputs.add(name=output)
    if content is not None:
        made.raw_input_contents.append(content)
    return made


def malformed(rng):
    """A request that is out of order itself."""
    one = struct.pack("<I", 4) + b"MKTV"
    noise = bytes(rng.randrange(256) for _ in range(rng.randint(0, 64)))
    shape = rng.choice(((), (1,), (65, 1), (1, 2), (-1, 1), (2**31, 1), (2**62, 4), (1, 1, 1)))
    return rng.choice(
        (
            lambda: request(one, shape=shape),
            lambda: request(noise + b"\xff\xff\xff\xff"),
            lambda: request(struct.pack("<I", 2**32 - 1) + b"MKTV"),
            lambda: request(one[: rng.randint(0, 7)]),
            lambda: request(one + one),
            lambda: request(one, datatype=rng.choice(("INT32", "FP32", "UINT8", "", "NONSENSE"))),
            lambda: request(one, name=rng.choice(("", "sequences", "mean", "s" * 999))),
            lambda: request(one, outputs=[rng.choice(("", "nothing", "logit", "x" * 999))]),
            lambda: request(one, endpoint=rng.choice(("", "nobody", "../esm2_embed", "a" * 999))),
            lambda: request(None),
            # With a string in it, Triton takes a batch of none for a batch of one.
            lambda: request(b"", shape=(0, 1)),
            lambda: wrong_layer(rng, one),
        )
    )()


def wrong_layer(rng, one):
    made = request(one)
    value, datatype = rng.choice(
        ((struct.pack("<i", 99), "INT32"), (struct.pack("<i", -99), "INT32"), (one, "BYTES"))
    )
    made.inputs.add(name="layer", datatype=datatype, shape=[1, 1])
    made.raw_input_contents.append(value)
    return made


def wrong_body(rng):
    """An HTTP body, and its headers, that the server must refuse."""
    tensor = {"name": "sequence", "shape": [1, 1], "datatype": "BYTES", "data": ["MK1"]}
    wrong = {**tensor, **rng.choice(({"shape": [7]}, {"data": [5]}, {"data": []}, {"name": "x"}))}
    body = rng.choice((tensor, wrong))
    text = json.dumps({"inputs": [body]}).encode()
    header = rng.choice(({}, {"Inference-Header-Content-Length": str(rng.choice((-1, 7, 10**9)))}))
    broken = rng.choice(
        (b"", b"{", b"\xff\xfe", b'{"inputs": 3}', b"[" * 5000, text[: len(text) // 2])
    )
    return rng.choice(((text, {}), (broken, {}), (text, header | {"Content-Type": "x"})))


class Fuzz:
    """Sends requests of every kind and notes what does not get the answer that it must."""

    def __init__(self, server, exported):
        self._means = Encoder.load(exported.huggingface).encode(list(GOOD)).mean().numpy()
        self._client = connect(server.url)
        self._port = server.ports["http"]
        self.sent, self.wrong = 0, []

    def run(self, count, seed):
        for number in range(count):
            rng = random.Random(f"{seed}/{number}")
            kind = rng.choice((self._grpc, self._grpc, self._grpc, self._http, self._good))
            try:
                kind(rng)
            except AssertionError as error:
                self.wrong.append(f"request {seed}/{number}: {error}")
            self.sent += 1
        self._client.close()

    def _grpc(self, rng):
        made = rng.choice((sequences, malformed))(rng)
        try:
            self._client._client_stub.ModelInfer(made, timeout=20)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details()
        else:
            code, details = "an answer", str(made)[:300]
        assert code in REFUSALS, f"{code}: {details}"
        assert "Traceback" not in details

    def _http(self, rng):
        body, headers = wrong_body(rng)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        connection.request("POST", f"/v2/models/{HOST}/infer", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status >= 400, f"{body[:200]!r} {headers} was answered with {text[:100]!r}"

    def _good(self, rng):
        reply = self._client.infer(HOST, strings([one.encode() for one in GOOD]))
        np.testing.assert_allclose(reply.as_numpy("mean"), self._means, rtol=0, atol=1e-4)


def fuzz(server, exported, count, seed):
    pid, workers = server.pid, server.workers
    fuzzing = Fuzz(server, exported)
    began = time.monotonic()
    try:
        fuzzing.run(count, seed)
    except InferenceServerException as error:
        raise AssertionError(f"after {fuzzing.sent} requests a good one failed: {error}") from None
    print(f"{count} requests in {time.monotonic() - began:.1f} s")
    assert not fuzzing.wrong, "\n".join(fuzzing.wrong[:20])
    server.check()
    assert (server.pid, server.workers) == (pid, workers)  # the same processes all along


def test_1000_malformed_requests(server, exported):
    fuzz(server, exported, 1_000, seed=1)


@pytest.mark.slow
def test_10000_malformed_requests(server, exported):
    fuzz(server, exported, 10_000, seed=2)
