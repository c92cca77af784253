"""Every method gives the same numbers, blocking or not, over gRPC and over HTTP."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from endpoint_reference import Asking

from bionemo_ext import errors
from bionemo_ext.client import AsyncClient, Client, TruncationWarning
from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.sequences import LengthPolicy, Record, SequencePolicy

pytestmark = pytest.mark.server

CLOSE = {"rtol": 0, "atol": 1e-5}
PROTEINS = ["MKTVRQGLLL", "ACDEFGHIKLMNPQRSTVWY" * 3, "M", "MKTAYIAKQRQISFVKSHFSRQ"]
MUTANTS = [["M1A", "K2G:T3S"], ["A1Y"], [], ["M1A"] * 7]
CALLS = {
    "embed": lambda client: client.embed(PROTEINS),
    "embed max": lambda client: client.embed(iter(PROTEINS), "max"),
    "embed residues": lambda client: client.embed(PROTEINS, "residues", layer=1),
    "one": lambda client: client.embed("MKTVRQG", layer=-3),
    "a record": lambda client: client.embed(Record("one", "MKTVRQG")),
    "logits": lambda client: client.logits([*PROTEINS, "MK<mask>RQG"]),
    "contacts": lambda client: client.contacts(PROTEINS),
    "scan": lambda client: client.scan(PROTEINS),
    "masked scan": lambda client: client.scan(PROTEINS, "masked"),
    "score": lambda client: client.score(PROTEINS, MUTANTS),
    "masked score": lambda client: client.score(PROTEINS[0], MUTANTS[0], "masked"),
    "nothing": lambda client: client.embed([]),
}


@pytest.fixture(scope="module")
def urls(server):
    return {"grpc": server.url, "http": f"http://127.0.0.1:{server.ports['http']}"}


@pytest.fixture(params=["grpc", "http"])
def protocol(request, urls):
    with Client(urls[request.param]) as blocking:
        yield blocking, lambda: AsyncClient(urls[request.param])


def ask(make, call):
    """What the client for asyncio answers."""

    async def run():
        async with make() as client:
            return await call(client)

    return asyncio.run(run())


@pytest.mark.parametrize("name", CALLS)
def test_the_same_numbers_everywhere(client, protocol, name):
    blocking, make = protocol
    expected = CALLS[name](client)
    for found in (CALLS[name](blocking), ask(make, CALLS[name])):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs, **CLOSE)


def test_predictions_and_streams_are_the_same(client, protocol):
    blocking, make = protocol
    tasks = ["fold", "place"]
    expected = client.predict(PROTEINS, tasks)

    async def several(client):
        found = await client.predict(PROTEINS, tasks)
        stream = client.stream_predictions(PROTEINS, tasks)
        return found, [pair async for pair in stream]

    found, pairs = ask(make, several)
    streamed = list(blocking.stream_predictions(PROTEINS, tasks))
    assert len(pairs) == len(streamed) == len(PROTEINS)
    for place, task in enumerate(tasks):
        for row, truth in enumerate(expected[task]):
            for one in (found[task][row], pairs[row][1][place], streamed[row][1][place]):
                assert (one.name, one.sequence, one.task) == (str(row + 1), *vars_of(truth))
                np.testing.assert_allclose(one.values, truth.values, **CLOSE)
    assert ask(make, lambda client: client.models()) == blocking.models() == client.models()
    assert ask(make, lambda client: client.task("fold")) == client.task("fold")
    assert ask(make, lambda client: client.limit()) == blocking.limit() == 1022
    assert ask(make, lambda client: client.ready()) is blocking.ready() is True


def vars_of(prediction):
    return prediction.sequence, prediction.task


def test_shapes_and_values_are_those_of_the_endpoints(client, server):
    """Held to bare requests, which the endpoints' own tests hold to transformers."""
    bare = Asking(server.url)
    for sequence, logits, contacts, scan in zip(
        PROTEINS,
        client.logits(PROTEINS),
        client.contacts(PROTEINS),
        client.scan(PROTEINS, "masked"),
        strict=True,
    ):
        size = len(sequence)
        assert (logits.shape, contacts.shape, scan.shape) == ((size, 33), (size, size), (size, 20))
        (expected,) = bare("esm2_logits", [sequence], "logits")
        np.testing.assert_allclose(logits, expected, **CLOSE)
        (expected,) = bare("esm2_contacts", [sequence], "contacts")
        np.testing.assert_allclose(contacts, expected, **CLOSE)
        (expected,) = bare("esm2_mutation_effect", [sequence], "scan", method="masked")
        np.testing.assert_allclose(scan, expected, **CLOSE)
        at_home = [AMINO_ACIDS.index(residue) for residue in sequence]
        assert not scan[np.arange(size), at_home].any()
    (expected,) = bare("esm2_embed", PROTEINS[:1], "mean", layer=[1])
    np.testing.assert_allclose(client.embed(PROTEINS[0], layer=1)[0], expected, **CLOSE)


def test_variants_may_be_written_as_hgvs_has_them(client):
    found = client.score("MKTVRQG", ["p.Met1Ala", "p.(Lys2Gly):p.T3S", "M1A", "K2G:T3S"])
    np.testing.assert_array_equal(found[:2], found[2:])


def test_scores_are_sums_of_the_scan_and_come_in_any_number(client):
    protein = PROTEINS[1]
    scan = client.scan(protein)[0]
    rng = np.random.default_rng(0)
    places = rng.integers(0, len(protein), 12_345)  # more than one request may have
    mutants = rng.choice(list(AMINO_ACIDS), len(places))
    variants = [f"{protein[i]}{i + 1}{aa}" for i, aa in zip(places, mutants, strict=True)]
    columns = [AMINO_ACIDS.index(aa) for aa in mutants]
    found = client.score(protein, variants)
    np.testing.assert_allclose(found, scan[places, columns], **CLOSE)


def test_inputs_may_differ_from_record_to_record(client):
    records = [Record(f"p{i}", "MKT" + "A" * (i % 7)) for i in range(200)]
    variants = [",".join(["M1A", "K2G", "T3S"][: 1 + i % 3]) for i in range(200)]
    inputs = {"method": "masked", "mutants": variants.__getitem__}
    stream = client.stream(records, ("score",), "esm2_mutation_effect", inputs=inputs)
    for position, result in enumerate(stream):
        assert result.name == f"p{position}"
        expected = client.score(records[position], variants[position].split(","), "masked")
        np.testing.assert_allclose(result.values["score"], expected, **CLOSE)
    assert position == 199
    outputs = ("mean", "residues", "cls")
    layered = list(client.stream(records, outputs, inputs={"layer": lambda i: i % 3}))
    for i in (0, 1, 2, 150, 199):
        for output in outputs:
            (expected,) = client.embed(records[i], output, layer=i % 3)
            np.testing.assert_allclose(layered[i].values[output], expected, **CLOSE)


LONG = "M" * 1023
REFUSED = {
    "contacts of a long one": (
        lambda client: client.contacts([Record("titin", LONG)]),
        errors.SequenceError,
        "record 'titin' has 1,023 residues, the limit is 1,022",
    ),
    "scan in windows": (
        lambda client: client.scan(LONG, policy=SequencePolicy(long=LengthPolicy.WINDOWS)),
        errors.SequenceError,
        "record '1' has 1,023 residues, the limit is 1,022",
    ),
    "a mask elsewhere": (
        lambda client: client.embed("MK<mask>T"),
        errors.SequenceError,
        "record '1' has a <mask>, which only a request for logits may have",
    ),
    "another wild type": (
        lambda client: client.score([Record("a", "MKT"), Record("b", "MKV")], [["M1A"], ["T3A"]]),
        errors.RequestError,
        "variant 'T3A' of record 'b' has 'T' as wild type at position 3, the sequence has 'V'",
    ),
    "one text for mutants": (
        lambda client: client.score("MKT", "M1A"),
        errors.InputError,
        "the mutants of record '1' must be a list such as",
    ),
    "a comma": (
        lambda client: client.score("MKT", ["M1A,K2A"]),
        errors.InputError,
        "record '1' has the variant 'M1A,K2A'; one looks like A24G or A24G:L30P",
    ),
    "lists of mutants": (
        lambda client: client.score(["MKT", "MKV"], [["M1A"]]),
        errors.InputError,
        "there are 2 sequences and 1 lists of mutants",
    ),
    "another method": (
        lambda client: client.scan("MKT", "both"),
        errors.RequestError,
        "record '1' asks for the method 'both'; there are wildtype and masked",
    ),
    "another layer": (
        lambda client: client.embed("MKT", layer=9),
        errors.RequestError,
        "record '1' asks for layer 9; there are layers 0",
    ),
    "a layer beyond numbers": (
        lambda client: client.embed("MKT", layer=10**12),
        errors.InputError,
        "an input is either text or a whole number of 32 bits",
    ),
    "another endpoint": (
        lambda client: client.fold("MKT"),
        errors.NotFoundError,
        "the server has no endpoint 'esmfold'; its endpoints are: adapted, esm2_contacts,",
    ),
    "another output": (
        lambda client: client.stream("MKT", ("median",)),
        errors.NotFoundError,
        "'esm2_embed' has no output 'median'",
    ),
    "another input": (
        lambda client: client.stream("MKT", ("mean",), inputs={"color": 1}),
        errors.InputError,
        "'esm2_embed' has no input 'color'; its inputs are layer",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_asked_is_one_sentence(protocol, case):
    blocking, make = protocol
    call, kind, sentence = REFUSED[case]

    async def run(client):
        found = call(client)
        return [one async for one in found] if hasattr(found, "__aiter__") else await found

    for ask_it in (lambda: list(call(blocking)), lambda: ask(make, run)):
        with pytest.raises(kind) as caught:
            ask_it()
        assert type(caught.value) is kind
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_warning_stands_where_the_caller_does(client, protocol):
    _, make = protocol
    with pytest.warns(TruncationWarning, match="1 of 2 sequences were longer") as caught:
        client.embed(["MKT", LONG])
    assert caught[0].filename == __file__

    async def run(client):
        with pytest.warns(TruncationWarning, match="1 of 2 sequences were longer") as caught:
            await client.predict(["MKT", LONG], "place")
        return caught[0].filename

    assert ask(make, run) == __file__


def test_one_client_in_a_running_loop_and_in_threads(server):
    """As in a notebook: the blocking client beside a loop; and two loops, one after the other."""

    @asynccontextmanager
    async def connected():
        async with AsyncClient(server.url) as client:
            yield client

    with Client(server.url) as blocking:
        expected = blocking.embed(PROTEINS)

        async def run():
            np.testing.assert_allclose(blocking.embed(PROTEINS), expected, **CLOSE)
            async with connected() as client:
                threads = [asyncio.to_thread(blocking.embed, PROTEINS) for _ in range(8)]
                calls = [client.embed(PROTEINS) for _ in range(8)]
                for found in await asyncio.gather(*threads, *calls):
                    np.testing.assert_allclose(found, expected, **CLOSE)

        for _ in range(2):
            asyncio.run(run())
