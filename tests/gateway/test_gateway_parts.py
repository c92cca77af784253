"""The gateway's parts that need no server."""

import asyncio
import io

import h5py
import numpy as np
import pytest
from fastapi import Request
from pydantic import ValidationError

from bionemo_ext.contract import (
    EncoderFacts,
    Kind,
    Level,
    TaskInfo,
    contacts_endpoint,
    encoder_endpoint,
    mutation_effect_endpoint,
    task_endpoint,
)
from bionemo_ext.errors import (
    BusyError,
    DeadlineError,
    InputError,
    NotFoundError,
    RequestError,
    ServerError,
    UnavailableError,
)
from bionemo_ext.gateway import Settings
from bionemo_ext.gateway.admission import Admission, ClientGoneError
from bionemo_ext.gateway.arrays import Format, as_file, padded
from bionemo_ext.gateway.bodies import RESIDUES, EmbeddingRequest
from bionemo_ext.gateway.faults import sentence, status_of
from bionemo_ext.gateway.served import check_length, served_models
from bionemo_ext.gateway.settings import parse_aliases

TASK = TaskInfo("fold", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"))


def endpoints(*models, contacts=True):
    facts = EncoderFacts(64, 2, 300)
    found = [encoder_endpoint(facts, [TASK], model=name) for name in models]
    found += [mutation_effect_endpoint(facts, model=name) for name in models]
    found += [contacts_endpoint(facts, model=name) for name in models if contacts]
    found.append(task_endpoint(TASK, model=models[0]))
    return {endpoint.name: endpoint for endpoint in found}


def problem_of(body):
    with pytest.raises(ValidationError) as caught:
        EmbeddingRequest.model_validate(body)
    errors = [{**e, "loc": ("body", *e["loc"])} for e in caught.value.errors()]
    return sentence(errors)


def test_every_model_has_a_route_and_those_that_it_was_given():
    models = served_models(
        endpoints("esm2_650m", "esm2"), {"esm2-3b": "missing", "x": "esm2", "y": "esm2"}
    )
    assert {route: model.name for route, model in models.items()} == {
        "esm2": "esm2", "esm2-650m": "esm2_650m", "x": "esm2", "y": "esm2",
    }  # fmt: skip
    assert models["esm2-650m"].tasks == (TASK,)
    assert models["esm2"].tasks == ()
    assert (models["x"].contacts, models["x"].mutation_effects) == (True, True)
    assert (models["x"].max_residues, models["x"].hidden_size) == (300, 64)


def test_a_model_without_contacts_says_so():
    assert not served_models(endpoints("esm1nv", contacts=False), {})["esm1nv"].contacts


def test_the_limit_is_the_models_own():
    model = served_models(endpoints("esm2"), {})["esm2"]
    check_length(["A" * 300], model)
    with pytest.raises(InputError, match="sequence 2 has 301 residues, the limit of esm2 is 300"):
        check_length(["A", "A" * 301], model)


def test_a_body_as_the_service_takes_it():
    body = EmbeddingRequest.model_validate({"sequences": [RESIDUES, "A" * 1024]})
    assert body.format is Format.NPZ
    assert EmbeddingRequest.model_validate({"sequences": ["M"] * 32, "format": "h5"})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"sequences": ["MKT", "MKZT"]}, "sequences[1]: 'Z' at position 3 is not one of the"),
        ({"sequences": ["mkt"]}, "sequences[0]: 'm' at position 1 is not one of the letters ARN"),
        ({"sequences": ["M\ud83d"]}, "sequences[0]: "),
        ({"sequences": [""]}, "sequences[0]: a sequence has at least one residue"),
        ({"sequences": ["A" * 1025]}, "sequences[0]: a sequence has 1025 residues, the limit is"),
        ({"sequences": []}, "sequences: list should have at least 1 item"),
        ({"sequences": ["A"] * 33}, "sequences: list should have at most 32 items"),
        ({"sequences": "MKT"}, "sequences: input should be a valid list"),
        ({"sequences": [1, 2]}, "sequences[0]: input should be a valid string (and 1 more"),
        ({}, "sequences: field required"),
        ({"sequences": ["A"], "format": "pdb"}, "format: input should be 'npz' or 'h5'"),
    ],
)
def test_a_wrong_body_gets_a_sentence(body, told):
    assert problem_of(body).startswith(told)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), 422), (RequestError("x"), 422), (NotFoundError("x"), 404),
        (BusyError("x"), 429), (UnavailableError("x"), 503), (DeadlineError("x"), 504),
        (ServerError("x"), 502),
    ],
)  # fmt: skip
def test_every_error_has_a_status(error, status):
    assert status_of(error, "/v1/biology/meta/esm2") == status
    older = 400 if status in (404, 422) else status
    assert status_of(error, "/protein-embedding/esm2/embeddings") == older


@pytest.mark.parametrize("kind", Format)
def test_files_are_read_back(kind):
    rows = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((1, 2), np.float32)]
    arrays = {"a": padded(rows), "b": np.arange(4)}
    content = io.BytesIO(as_file(arrays, kind))
    found = np.load(content) if kind is Format.NPZ else h5py.File(content)
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["a"][0], rows[0])
    np.testing.assert_array_equal(found["a"][1], [[1, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(found["b"][:], range(4))


def test_aliases_are_read():
    assert parse_aliases(["esm2-650m=esm2_650m", "b=c"]) == {"esm2-650m": "esm2_650m", "b": "c"}


@pytest.mark.parametrize("option", [["a"], ["a="], ["=a"], ["a=b", "a=c"]])
def test_aliases_of_another_form_are_refused(option):
    with pytest.raises(InputError, match="--model"):
        parse_aliases(option)


@pytest.mark.parametrize(
    "words", [{"aliases": {"a/b": "c"}}, {"token": "short"}, {"token": "ä" * 9}]
)
def test_settings_that_could_not_work_are_refused(words):
    with pytest.raises(InputError):
        Settings(**words)


def request(*messages):
    """A request whose caller sends nothing more, or goes away."""
    left = list(messages)

    async def receive():
        if left:
            return left.pop(0)
        await asyncio.Event().wait()

    return Request({"type": "http"}, receive)


def test_only_so_many_wait():
    async def go():
        admission, hold = Admission(1, 1), asyncio.Event()
        first = asyncio.ensure_future(admission.answer(request(), hold.wait()))
        second = asyncio.ensure_future(admission.answer(request(), asyncio.sleep(0, "second")))
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError, match="2 requests"):
            await admission.answer(request(), asyncio.sleep(0))
        hold.set()
        assert (await first, await second) == (True, "second")
        assert await admission.answer(request(), asyncio.sleep(0, "third")) == "third"

    asyncio.run(go())


def test_work_is_dropped_when_its_caller_goes_away():
    async def go():
        admission, ended = Admission(1, 0), asyncio.Event()

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        with pytest.raises(ClientGoneError):
            await admission.answer(request({"type": "http.disconnect"}), work())
        assert ended.is_set()
        assert await admission.answer(request(), asyncio.sleep(0, "next")) == "next"

    asyncio.run(go())
