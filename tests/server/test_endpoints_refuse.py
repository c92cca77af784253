"""What an endpoint refuses is one sentence with INVALID_ARGUMENT; what it did is counted."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import numpy as np
import pytest
import tritonclient.grpc as triton
from endpoint_reference import Asking, string_tensor
from kept_servers import kept
from tritonclient.utils import InferenceServerException

from bionemo_ext.serving import LocalServer, LogLevel
from bionemo_ext.serving.command import Policy

pytestmark = pytest.mark.server

OUTPUTS = {
    "esm2_embed": "mean", "esm2_logits": "logits", "esm2_contacts": "contacts",
    "esm2_mutation_effect": "scan", "place": "prediction",
}  # fmt: skip


@pytest.fixture(scope="module")
def ask(server):
    return Asking(server.url)


def refused(ask, endpoint, sequences, output, **words):
    with pytest.raises(InferenceServerException) as caught:
        ask(endpoint, sequences, output, **words)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    message = caught.value.message()
    assert "\n" not in message
    return message


@pytest.mark.parametrize("endpoint", OUTPUTS)
@pytest.mark.parametrize(
    ("sequence", "sentence"),
    [
        ("A" * 1023, "record '2 of 2' has 1,023 residues, the limit is 1,022"),
        ("", "record '2 of 2' has no residues"),
        ("MK1", "record '2 of 2' has '1' at position 3, which is not in the ESM-2 alphabet"),
        ("ACGT" * 20, "record '2 of 2' looks like nucleotides"),
        ("MK<mask", "record '2 of 2' has '<' at position 3"),
        ("MK#", "record '2 of 2' has '#' at position 3"),
    ],
)
def test_sequences(ask, endpoint, sequence, sentence):
    message = refused(ask, endpoint, ["MKT", sequence], OUTPUTS[endpoint])
    assert message.startswith(sentence)


@pytest.mark.parametrize("endpoint", OUTPUTS)
def test_too_many_and_none(ask, endpoint):
    output = OUTPUTS[endpoint]
    most = 16 if endpoint == "esm2_contacts" else 64
    assert len(ask(endpoint, ["MKT"] * most, output)) == most
    assert f"batch-size must be <= {most}" in refused(ask, endpoint, ["MKT"] * (most + 1), output)
    with pytest.raises(InferenceServerException) as caught:
        ask(endpoint, [], output)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize("endpoint", [name for name in OUTPUTS if name != "esm2_logits"])
def test_masks_where_there_can_be_none(ask, endpoint):
    message = refused(ask, endpoint, ["MK<mask>T"], OUTPUTS[endpoint])
    assert message == "record '1 of 1' has a <mask>, which only a request for logits may have"


def test_layers(ask):
    for layer in (3, -4, 2**31 - 1, -(2**31)):
        message = refused(ask, "esm2_embed", ["MKT", "MK"], "mean", layer=[0, layer])
        assert message == (
            f"record '2 of 2' asks for layer {layer}; there are layers 0 (before the first) to 2, "
            "or -3 to -1 from the end"
        )


@pytest.mark.parametrize(
    ("mutants", "sentence"),
    [
        ("A1G", "variant 'A1G' of record '2 of 2' has 'A' as wild type at position 1, the"),
        ("M1G, K9A", "variant 'K9A' of record '2 of 2' names position 9; the sequence has 1 to 5"),
        ("M0G", "variant 'M0G' of record '2 of 2' names position 0; the sequence has 1 to 5"),
        ("M1G,", "variant '' of record '2 of 2' cannot be read"),
        ("1MG", "variant '1MG' of record '2 of 2' cannot be read"),
        ("M1G;K2A", "variant 'M1G;K2A' of record '2 of 2' cannot be read"),
        ("M1del", "variant 'M1del' of record '2 of 2' cannot be read"),
        ("M\u0661G", "variant 'M\u0661G' of record '2 of 2' cannot be read"),
        ("M1X", "variant 'M1X' of record '2 of 2' has 'X' as mutant, which is not one of the 20"),
        ("M1J", "variant 'M1J' of record '2 of 2' has 'J' as mutant, which is not one of the 20"),
        ("M1G:M1A", "variant 'M1G:M1A' of record '2 of 2' names position 1 twice"),
        ("M1G," * 10_000 + "M1G", "record '2 of 2' has 10,001 variants, the limit is 10,000"),
    ],
)
def test_variants(ask, mutants, sentence):
    texts = ["M1G", mutants]
    message = refused(ask, "esm2_mutation_effect", ["MKT", "MKTVR"], "score", mutants=texts)
    assert message.startswith(sentence)


def test_methods(ask):
    message = refused(ask, "esm2_mutation_effect", ["MKT"], "scan", method="best")
    assert message == ("record '1 of 1' asks for the method 'best'; there are wildtype and masked")


def test_a_scan_that_nobody_waits_for_ends(ask, server):
    """A masked scan of a long protein is given up soon after its client went away."""
    before = counters(server)["tokens"]
    long = "".join(np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), 1000))
    inputs = [string_tensor("sequence", [long]), string_tensor("method", ["masked"])]
    done = []
    call = ask.raw.async_infer(
        "esm2_mutation_effect", inputs, lambda result, error: done.append(error)
    )
    wait_for(lambda: counters(server)["tokens"] > before)
    call.cancel()
    wait_for(lambda: done)
    assert settled(server) < before + 200 * 1002  # of the 1,000 passes over 1,002 tokens


def settled(server):
    """Tokens that the encoder has seen, once there come no more."""
    now, then = counters(server)["tokens"], -1
    end = time.monotonic() + 30
    while now != then:
        assert time.monotonic() < end
        time.sleep(1)
        now, then = counters(server)["tokens"], now
    return now


def test_short_requests_come_in_between_those_of_a_long_scan(ask):
    long = "M" * 300
    with ThreadPoolExecutor(3) as threads:
        scans = [
            threads.submit(ask, "esm2_mutation_effect", [long], "scan", method="masked")
            for _ in range(3)
        ]
        time.sleep(0.2)
        for endpoint in ("esm2_embed", "esm2_mutation_effect"):
            start = time.monotonic()
            ask(endpoint, ["MKT"], OUTPUTS[endpoint])
            assert not any(scan.done() for scan in scans)
            assert time.monotonic() - start < 5
        for scan in scans:
            assert scan.result().shape == (1, 300, 20)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def counters(server):
    """The encoder's own counters, by the part of their name that is theirs."""
    with urlopen(f"http://127.0.0.1:{server.ports['metrics']}/metrics") as reply:
        text = reply.read().decode()
    found = re.findall(r'^bionemo_ext_(\w+)_total\{model="esm2_embed"\} (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_metrics_count_residues_passes_and_padding(ask, server):
    before = counters(server)
    ask("esm2_embed", ["M" * 10, "G" * 4], "residues")
    ask("esm2_logits", ["M" * 5], "logits")
    after = counters(server)
    assert after.pop("queue_us") > before["queue_us"]
    assert {name: after[name] - before[name] for name in after} == {
        "sequences": 3, "residues": 19, "passes": 2, "tokens": 25, "capacity_tokens": 2 * 8192,
        "rows": 25, "padding_rows": 6, "queued_requests": 2, "refused_requests": 0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def cached(exported):
    """A server with a response cache, and the lines of its log."""
    lines = []
    server = LocalServer(
        exported.repository,
        threads=1,
        log_level=LogLevel.INFO,
        policy=Policy(cache_bytes=10_000_000),
        on_log=lines.append,
    )
    with kept(server):
        yield Asking(server.url), lines


def test_a_cache_gives_every_request_its_own_answer(cached):
    ask, lines = cached
    several = ("mean", "residues", "cls")
    first = [ask("esm2_embed", ["MKTVR"], name) for name in several]
    for expected, name in zip(first, several, strict=True):
        np.testing.assert_allclose(ask("esm2_embed", ["MKTVR"], name), expected, rtol=0, atol=1e-6)
    logits = [ask("esm2_logits", ["MKTVR"], "logits", request_id="often") for _ in range(3)]
    np.testing.assert_array_equal(logits[0], logits[2])
    ask("esm2_logits", ["MKTVW"], "logits", request_id="other")
    wait_for(lambda: any(line["request_id"] == "other" for line in requests_in(lines)))
    computed = [line for line in requests_in(lines) if line["request_id"] == "often"]
    assert [line["endpoint"] for line in computed] == ["esm2_embed", "esm2_logits"]


def test_one_line_of_log_a_request(cached):
    ask, lines = cached
    ask("esm2_embed", ["MKT", "GG"], "mean", request_id="first")
    with pytest.raises(InferenceServerException):
        ask("place", ["MK1"], "prediction", request_id="second")

    def found():
        return [line for line in requests_in(lines) if line["request_id"] in ("first", "second")]

    wait_for(lambda: len(found()) == 3)  # an endpoint answers, then writes
    found = found()
    for line in found:
        assert 0 <= line.pop("ms") < 60_000
    expected = {"request_id": "first", "endpoint": "esm2_embed", "sequences": 2, "residues": 5}
    assert {**expected, "outcome": "ok"} in found
    second = [line for line in found if line["request_id"] == "second"]
    assert {line["endpoint"] for line in second} == {"esm2_embed", "place"}
    assert all("has '1' at position 3" in line["outcome"] for line in second)


def requests_in(lines):
    """The lines of JSON, which Triton writes as a quoted string after time and place."""
    texts = re.findall(r'\] ("{.*}")$', "\n".join(lines), re.MULTILINE)
    return [json.loads(json.loads(text)) for text in texts]


def test_a_client_learns_the_limits(ask):
    config = ask.raw.get_model_config("esm2_mutation_effect", as_json=True)["config"]
    values = {key: value["string_value"] for key, value in config["parameters"].items()}
    assert values["amino_acids"] == "ACDEFGHIKLMNPQRSTVWY"
    assert values["max_variants"] == "10000"
    assert values["max_residues"] == "1022"
    assert values["queue_size"] == "512"
    host = ask.raw.get_model_config("esm2_embed")
    assert isinstance(host, triton.service_pb2.ModelConfigResponse)
    assert host.config.max_batch_size == 64
    assert host.config.parameters["layers"].string_value == "2"
