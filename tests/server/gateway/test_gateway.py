"""The gateway as callers of the ESM-2 service meet it: real HTTP, the real server behind it."""

import io
import re
import socket
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import requests
from gateway_process import TOKEN

from bionemo_ext.sequences import ESM2

pytestmark = pytest.mark.server

SEQUENCES = ["MKTVRQGLLLXBOU", "ACDEFGHIKLMNPQRSTVWY", "M"]
EMBED = "/v1/biology/meta/esm2-650m"
OLDER = "/protein-embedding/esm2-650m/embeddings"


def test_a_script_for_the_hosted_service_runs(guarded, client):
    invoke_url = f"{guarded.url}/v1/biology/meta/esm2-650m"
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
    payload = {"sequences": SEQUENCES, "format": "npz"}
    response = requests.post(invoke_url, headers=headers, json=payload, timeout=60)
    response.raise_for_status()
    assert response.headers["content-type"] == "application/octet-stream"
    data = np.load(io.BytesIO(response.content))
    assert set(data.files) == {"embeddings", "representations"}
    assert data["embeddings"].shape == (3, 64)
    assert data["representations"].shape == (3, 20, 64)
    np.testing.assert_allclose(data["embeddings"], client.embed(SEQUENCES), rtol=0, atol=1e-5)
    for rows, expected in zip(
        data["representations"], client.embed(SEQUENCES, "residues"), strict=True
    ):
        np.testing.assert_allclose(rows[: len(expected)], expected, rtol=0, atol=1e-5)
        assert not rows[len(expected) :].any()

    payload["format"] = "h5"
    response = requests.post(invoke_url, headers=headers, json=payload, timeout=60)
    assert response.headers["content-type"] == "application/x-hdf5"
    with h5py.File(io.BytesIO(response.content)) as file:
        assert set(file) == {"embeddings", "representations"}
        np.testing.assert_allclose(file["embeddings"], data["embeddings"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_what_the_older_client_does(guarded, client, prefix):
    host, headers = guarded.url + prefix, {"Authorization": f"Bearer {TOKEN}"}
    models = requests.get(f"{host}/models", headers=headers, timeout=60).json()["models"]
    assert {"name": "esm2-650m", "methods": ["embeddings"]} in models
    response = requests.post(
        f"{host}{OLDER}",
        headers=headers,
        json={"sequence": SEQUENCES, "format": "npz"},
        timeout=60,
    )
    payload = np.load(io.BytesIO(response.content))
    length = len(next(iter(payload.values())))
    found = [{key: payload[key][i] for key in payload} for i in range(length)]
    residues = client.embed(SEQUENCES, "residues")
    logits = client.logits(SEQUENCES)
    for item, sequence, rows, scores in zip(found, SEQUENCES, residues, logits, strict=True):
        keep = [i for i, token in enumerate(item["tokens"]) if token not in [0, 1, 2]]
        assert ESM2.decode(item["tokens"][keep]) == sequence
        np.testing.assert_allclose(item["representations"][keep], rows, rtol=0, atol=1e-5)
        np.testing.assert_allclose(item["logits"][keep], scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(item["embeddings"], rows.mean(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("path", [EMBED, OLDER, "/api/tracks", "/api/contacts", "/api/scan"])
def test_the_token_is_asked_for(guarded, path):
    for headers, status in (({}, 401), ({"Authorization": "Basic eDp5"}, 401),
                            ({"Authorization": "Bearer wrong"}, 403)):  # fmt: skip
        response = guarded.post(path, {}, headers=headers)
        assert response.status_code == status
        assert "token" in response.json()["message"]
        assert (response.headers.get("www-authenticate") == "Bearer") == (status == 401)


def test_what_is_open_without_a_token(guarded):
    for path in ("/", "/v1/health/live", "/v1/health/ready", "/v1/metadata", "/v1/version",
                 "/v1/metrics", "/openapi.json", "/page/main.js"):  # fmt: skip
        assert guarded.get(path).status_code == 200, path
    assert guarded.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"sequences": ["MKJT"]}, "sequences[0]: 'J' at position 3 is not one of the letters"),
        ({"sequences": ["M"] * 33}, "sequences: list should have at most 32 items"),
        ({"sequences": ["A" * 1023]}, "sequence 1 has 1,023 residues, the limit of esm2-650m is"),
        ({"sequences": ["A" * 1025]}, "sequences[0]: a sequence has 1025 residues, the limit is"),
        ({"sequences": ["ACGT" * 20]}, "looks like nucleotides"),
        ({"sequences": ["M"], "format": "csv"}, "format: input should be 'npz' or 'h5'"),
        ([], "the body: "),
    ],
)
def test_wrong_bodies(gateway, body, told):
    response = gateway.post(EMBED, body)
    assert response.status_code == 422
    assert told in response.json()["message"]
    assert response.json()["detail"]
    if isinstance(body, dict):
        body = {"sequence": body["sequences"], **body}
    older = gateway.post(OLDER, body)
    assert older.status_code == 400


def test_the_longest_sequences_the_model_takes(gateway):
    body = {"sequences": ["AG" * 511, "M"]}
    data = np.load(io.BytesIO(gateway.post(EMBED, body).content))
    assert data["representations"].shape == (2, 1022, 64)


def test_what_is_no_request(gateway):
    no_json = gateway.post(EMBED, data="{", headers={"Content-Type": "application/json"})
    assert (no_json.status_code, no_json.json()["message"][:20]) == (422, "the body is no JSON:")
    unknown = gateway.post("/v1/biology/meta/esm9", {"sequences": ["M"]})
    assert unknown.status_code == 404
    assert "the models are: esm2, esm2-650m" in unknown.json()["message"]
    assert gateway.get("/nothing").json()["message"] == "Not Found"
    wrong_way = gateway.get(EMBED)
    assert (wrong_way.status_code, wrong_way.headers["allow"]) == (405, "POST")


def chunks(total):
    yield from (b" " * 65536 for _ in range(total // 65536))


@pytest.mark.parametrize("data", [b" " * 2**21, chunks(2**21)], ids=["declared", "chunked"])
def test_a_request_that_is_too_large(gateway, data):
    headers = {"Content-Type": "application/json"}
    response = gateway.post(EMBED, data=data, headers=headers)
    assert response.status_code == 413
    assert response.json()["message"] == "a request has at most 1,048,576 bytes"


@pytest.mark.parametrize(
    ("path", "length", "status"), [(EMBED, 2**21, b"413"), ("/nothing", 2**19, b"404")]
)
def test_a_caller_who_still_sends_gets_the_answer(gateway, path, length, status):
    """Closing over bytes that nobody read resets the connection, and the answer is lost."""
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as caller:
        caller.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        first = caller.recv(65536)  # told before anything was sent
        for part in chunks(length):
            caller.sendall(part)
            time.sleep(0.01)
        answer = first + b"".join(iter(lambda: caller.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b'"message"' in answer


def test_a_body_that_is_held_back_is_refused_at_once(gateway):
    """As curl does with a large one (Expect: 100-continue)."""
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST {EMBED} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as caller:
        caller.sendall(f"{head}Content-Length: {2**21}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_health_and_what_there_is(gateway):
    def get(path):
        return gateway.get(f"/v1/{path}").json()

    assert get("health/live") == {"object": "health.response", "message": "live", "live": True}
    assert get("health/ready") == {
        "object": "health.response", "message": "ready", "ready": True,
    }  # fmt: skip
    assert {info["shortName"] for info in get("metadata")["modelInfo"]} == {"esm2", "esm2-650m"}
    model = get("models")["data"][0]
    assert (model["id"], model["max_residues"], model["hidden_size"]) == ("esm2", 1022, 64)
    assert {task["name"] for task in model["tasks"]} == {
        "fold", "place", "sites", "adapted", "trained",
    }  # fmt: skip
    assert model["contacts"]
    assert model["mutation_effects"]


def test_metrics_and_log(gateway):
    body = {"sequences": ["MKT", "GG"]}
    response = gateway.post(EMBED, body, headers={"X-Request-Id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    wrong = gateway.post(EMBED, {}, headers={"X-Request-Id": "a\tb"})
    assert wrong.json()["request_id"] == wrong.headers["x-request-id"] != "a\tb"
    lines = {line["request_id"]: line for line in gateway.log()}
    line = lines["mine-1"]
    assert (line["status"], line["model"], line["sequences"], line["residues"]) == (
        200, "esm2", 2, 5,
    )  # fmt: skip
    assert line["bytes"] == len(response.content)
    assert lines[wrong.headers["x-request-id"]]["status"] == 422
    text = gateway.get("/v1/metrics").text
    assert 'requests_total{route="/v1/biology/meta/{model}",status="200"}' in text
    assert 'bionemo_ext_gateway_residues_total{model="esm2"}' in text


def test_the_page_s_routes_give_what_the_client_gets(gateway, client):
    body = {"sequence": " mktvr\nQGLLL* ", "name": "p", "model": "esm2"}
    clean = "MKTVRQGLLL"

    def post(what, **more):
        return gateway.post(f"/api/{what}", body | more)

    tracks = post("tracks").json()
    assert tracks["sequence"] == clean
    for task in tracks["tasks"]:
        (expected,) = client.predict([clean], task["name"])
        np.testing.assert_allclose(
            task["values"], np.atleast_2d(expected.values), rtol=0, atol=6e-5
        )
    contacts = np.frombuffer(post("contacts").content, "<u2").reshape(10, 10) / 65535
    np.testing.assert_allclose(contacts, client.contacts([clean])[0], rtol=0, atol=1e-4)
    for method in ("wildtype", "masked"):
        scan = post("scan", method=method).json()
        assert scan["amino_acids"] == "ACDEFGHIKLMNPQRSTVWY"
        expected = client.scan([clean], method)[0]
        np.testing.assert_allclose(scan["effects"], expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("sequence", "told"),
    [
        ("MK1T", "record 'p' has '1' at position 3, which is not in the ESM-2 alphabet"),
        ("", "record 'p' has no residues"),
        ("A" * 1023, "record 'p' has 1,023 residues, the limit is 1,022"),
    ],
)
def test_the_page_s_routes_refuse_in_a_sentence(gateway, sequence, told):
    for what in ("tracks", "contacts", "scan"):
        body = {"sequence": sequence, "name": "p"}
        response = gateway.post(f"/api/{what}", body)
        assert response.status_code == 422
        assert told in response.json()["message"]


def test_the_example_of_the_documentation_runs(guarded):
    text = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(  # noqa: S102
        code.replace("http://127.0.0.1:8080", guarded.url).replace("TOKEN", TOKEN), names
    )
    assert names["vectors"].shape == (2, 64)
    assert names["residues"].shape == (2, 20, 64)
