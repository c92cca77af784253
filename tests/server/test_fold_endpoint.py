"""What the real server folds equals transformers, whoever else asks, and whatever goes wrong."""

import http.client
import json
import re
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from kept_servers import kept
from tritonclient.utils import InferenceServerException

from bionemo_ext.client import Client
from bionemo_ext.contract import FOLD, fold_endpoint
from bionemo_ext.errors import SequenceError
from bionemo_ext.export import FoldSource, export
from bionemo_ext.huggingface import weights_digest
from bionemo_ext.inference.fold import FoldingModel
from bionemo_ext.sequences import Record
from bionemo_ext.serving import LocalServer, LogLevel

pytestmark = pytest.mark.server

OUTPUTS = ("pdb", "plddt", "pae", "ptm", "length")
LIMIT = 600


def proteins(count: int, seed: int, longest: int = 60) -> list[str]:
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWYX"))
    return ["M" + "".join(rng.choice(letters, rng.integers(0, longest))) for _ in range(count)]


@pytest.fixture(scope="module")
def log() -> list[str]:
    return []


@pytest.fixture(scope="module")
def folding(tiny_hf_folder, tiny_fold_folder, tmp_path_factory, log):
    """A server that folds and embeds."""
    out = tmp_path_factory.mktemp("fold") / "out"
    source = FoldSource(tiny_fold_folder, max_residues=LIMIT, chunk_size=64)
    export(tiny_hf_folder, out, fold=source)
    server = LocalServer(
        out / "triton", threads=1, log_level=LogLevel.INFO, on_log=log.append, startup_s=120
    )
    with kept(server) as running:
        yield running


@pytest.fixture(scope="module")
def grpc(folding):
    with triton.InferenceServerClient(folding.url.removeprefix("grpc://")) as client:
        yield client


@pytest.fixture(scope="module")
def reference(tiny_fold_folder):
    """Structures of one protein after the other, by the code that tests hold to transformers."""
    model = FoldingModel.load(tiny_fold_folder)
    return lambda sequence: model.fold_batch([sequence])[0]


def request(sequences):
    tensor = triton.InferInput("sequence", [len(sequences), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([s.encode() for s in sequences], np.object_)[:, None])
    return [tensor]


def ask(grpc, sequences, outputs=OUTPUTS, **options):
    wanted = [triton.InferRequestedOutput(name) for name in outputs]
    reply = grpc.infer(FOLD, request(sequences), outputs=wanted, **options)
    assert {out.name for out in reply.get_response().outputs} == set(outputs)
    return {name: reply.as_numpy(name) for name in outputs}


def ca_positions(pdb):
    lines = [line for line in pdb.splitlines() if line[12:16] == " CA "]
    return np.array([[float(line[at : at + 8]) for at in (30, 38, 46)] for line in lines])


def check(sequences, reply, reference):
    longest = max(map(len, sequences))
    assert reply["pdb"].shape == reply["ptm"].shape == reply["length"].shape == (len(sequences), 1)
    assert reply["plddt"].shape == (len(sequences), longest)
    assert reply["pae"].shape == (len(sequences), longest, longest)
    for row, sequence in enumerate(sequences):
        expected, n = reference(sequence), len(sequence)
        assert reply["length"][row, 0] == n
        np.testing.assert_allclose(reply["plddt"][row, :n], expected.plddt, rtol=0, atol=1e-4)
        np.testing.assert_allclose(reply["pae"][row, :n, :n], expected.pae, rtol=0, atol=1e-4)
        assert not reply["plddt"][row, n:].any()
        assert not reply["pae"][row, n:].any()
        assert not reply["pae"][row, :, n:].any()
        assert reply["ptm"][row, 0] == pytest.approx(expected.ptm, abs=1e-5)
        pdb = reply["pdb"][row, 0].decode()
        known = sum(letter != "X" for letter in sequence)
        assert ca_positions(pdb).shape == (known, 3)
        np.testing.assert_allclose(
            ca_positions(pdb), ca_positions(expected.pdb), rtol=0, atol=1.1e-3
        )


def test_several_proteins_of_one_request(grpc, reference):
    sequences = proteins(8, seed=1)
    sequences[3] = sequences[5]
    check(sequences, ask(grpc, sequences), reference)


def test_the_client_gives_structures(folding, reference):
    """Over gRPC and HTTP; more than one request may have, and none is cut."""
    records = [Record(f"p{i}", sequence) for i, sequence in enumerate(proteins(11, seed=8))]
    for url in (folding.url, f"http://127.0.0.1:{folding.ports['http']}"):
        with Client(url) as client:
            found = client.fold(records)
            with pytest.raises(SequenceError, match=r"record 'long' has 601 .* the limit is 600"):
                client.fold([*records, Record("long", "M" * (LIMIT + 1))])
        for record, structure in zip(records, found, strict=True):
            expected = reference(record.sequence)
            assert (structure.name, structure.sequence) == (record.name, record.sequence)
            np.testing.assert_allclose(
                ca_positions(structure.pdb), ca_positions(expected.pdb), rtol=0, atol=1.1e-3
            )
            np.testing.assert_allclose(structure.plddt, expected.plddt, rtol=0, atol=1e-4)
            np.testing.assert_allclose(structure.pae, expected.pae, rtol=0, atol=1e-4)
            assert structure.ptm == pytest.approx(expected.ptm, abs=1e-5)


def test_only_the_outputs_that_are_wanted(grpc, reference):
    reply = ask(grpc, ["MKTVRQG"], ["plddt"])
    np.testing.assert_allclose(reply["plddt"][0], reference("MKTVRQG").plddt, rtol=0, atol=1e-4)


def test_requests_among_wrong_ones_get_their_own_answer(grpc, reference):
    """From 16 threads, one to four proteins each, every third request wrong somewhere."""
    pool = proteins(40, seed=2)
    rng = np.random.default_rng(3)
    requests = [list(rng.choice(pool, rng.integers(1, 5))) for _ in range(48)]
    for sequences in requests[::3]:
        sequences[-1] = "MK-V"
    expected = {sequence: reference(sequence) for sequence in pool}

    def run(sequences):
        try:
            return ask(grpc, sequences)
        except InferenceServerException as error:
            return error

    with ThreadPoolExecutor(16) as threads:
        replies = list(threads.map(run, requests))
    for index, (sequences, reply) in enumerate(zip(requests, replies, strict=True)):
        if index % 3:
            check(sequences, reply, expected.__getitem__)
        else:
            assert reply.status() == "StatusCode.INVALID_ARGUMENT"
            name = f"record '{len(sequences)} of {len(sequences)}'"
            assert reply.message().startswith(f"{name} has '-' at position 3, which is no residue")


@pytest.mark.parametrize(
    ("sequences", "sentence"),
    [
        (["M" * (LIMIT + 1)], f"record '1 of 1' has {LIMIT + 1} residues, the limit is {LIMIT}"),
        (["M", ""], "record '2 of 2' has no residues"),
        (["MKTJ"], "record '1 of 1' has 'J' at position 4, which is not in the ESM-2 alphabet"),
        (["MKTV:MKTV"], "record '1 of 1' has ':' at position 5"),
        (["BZX"], "record '1 of 1' has no residue of a known kind; nothing to fold"),
        (["ACGT" * 20], "record '1 of 1' looks like nucleotides"),
        (["M"] * 9, "inference request batch-size must be <= 8 for 'esmfold'"),
    ],
)
def test_what_cannot_be_folded_is_refused_in_a_sentence(grpc, sequences, sentence):
    with pytest.raises(InferenceServerException) as caught:
        ask(grpc, sequences)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert sentence in caught.value.message()
    assert "\n" not in caught.value.message()


def test_the_server_tells_its_limits(folding, tiny_fold_folder):
    found = Client(folding.url).models()[FOLD]
    digest = weights_digest(tiny_fold_folder)
    expected = fold_endpoint(LIMIT, chunk_size=64, digest=digest)
    assert (found.name, found.inputs, found.outputs) == (FOLD, expected.inputs, expected.outputs)
    assert found.parameters == expected.parameters
    assert (found.max_batch_size, found.queue) == (expected.max_batch_size, expected.queue)


def test_the_encoder_beside_it_answers(folding):
    with Client(folding.url) as client:
        assert client.embed(["MKTVRQG"]).shape == (1, 64)


def outcomes(log):
    """What the log says of each request, by its id."""
    # Triton writes a message as a quoted text.
    quoted = [line[line.index('"') :] for line in log if "request_id" in line]
    lines = [json.loads(json.loads(text)) for text in quoted]
    return {line["request_id"]: line for line in lines if line["endpoint"] == FOLD}


def residues_folded(folding):
    connection = http.client.HTTPConnection(folding.host, folding.ports["metrics"])
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r"^bionemo_ext_residues_total\{.*esmfold.*\} (\S+)$", text, re.MULTILINE)
    return float(found[1])


def test_a_cancelled_request_is_folded_no_further(folding, grpc, log):
    before = residues_folded(folding)
    ended = Queue()
    given_up = grpc.async_infer(
        FOLD,
        request(["M" * 120, "A" * 250, "C" * 330]),
        lambda result, error: ended.put(error),
        request_id="given-up",
    )
    time.sleep(0.5)
    given_up.cancel()
    assert ended.get(timeout=60).status() == "StatusCode.CANCELLED"
    ask(grpc, ["MKTV"], request_id="after")
    found = outcomes(log)
    assert found["after"]["outcome"] == "ok"
    assert found["given-up"]["outcome"] == "cancelled"
    assert found["given-up"]["residues"] == 120 + 250 + 330
    assert residues_folded(folding) - before in (120 + 4, 120 + 250 + 4)


def test_a_short_protein_does_not_wait_for_a_long_one(grpc, log):
    """Which wait together, behind a third."""
    ended = Queue()
    for length, name in ((150, "first"), (330, "long"), (30, "short")):
        grpc.async_infer(
            FOLD,
            request(["M" * length]),
            lambda result, error, name=name: ended.put((name, error)),
            request_id=name,
        )
        time.sleep(0.1)
    assert [ended.get(timeout=60) for _ in range(3)] == [
        ("first", None), ("short", None), ("long", None)
    ]  # fmt: skip
    assert outcomes(log)["short"]["ms"] < outcomes(log)["long"]["ms"] / 4


def test_a_lack_of_memory_is_told_and_the_server_lives(folding, grpc, reference):
    """The worker's memory is bounded from outside, as a container bounds it."""
    (worker,) = [w for w in folding.workers if w.model.startswith(FOLD)]
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + 200 * 2**20
    before = resource.prlimit(worker.pid, resource.RLIMIT_AS, (bound, -1))
    try:
        with pytest.raises(InferenceServerException) as caught:
            ask(grpc, ["MKTV", "A" * LIMIT])
        assert caught.value.status() == "StatusCode.INTERNAL"
        assert caught.value.message() == (
            "record '2 of 2' was not folded: 600 residues need more memory than the machine has"
        )
        check(["MKTV"], ask(grpc, ["MKTV"]), reference)
    finally:
        resource.prlimit(worker.pid, resource.RLIMIT_AS, before)
    assert worker.alive
    check(["MKTVRQG", "M"], ask(grpc, ["MKTVRQG", "M"]), reference)
