"""What the real server answers equals the reference, whoever else asks at the same time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from bionemo_ext.client import Client, Retry, TruncationWarning
from bionemo_ext.contract import Kind
from bionemo_ext.errors import (
    DeadlineError,
    InputError,
    NotFoundError,
    RequestError,
    SequenceError,
)
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import open_task
from bionemo_ext.inference.task import load_task, predict
from bionemo_ext.sequences import ESM2, LengthPolicy, Record, SequencePolicy

pytestmark = pytest.mark.server

POOLINGS = ("mean", "cls", "max", "residues")
TOLERANCE = {"rtol": 0, "atol": 1e-4}


def proteins(count: int, seed: int, longest: int = 120) -> list[str]:
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWYXBUZO"))
    return ["".join(rng.choice(letters, rng.integers(1, longest + 1))) for _ in range(count)]


@pytest.fixture(scope="session")
def reference(exported):
    """Gives transformers' hidden states, pooled in each way, of one sequence."""
    from transformers import EsmModel

    model = EsmModel.from_pretrained(exported.huggingface, attn_implementation="eager").eval()

    def encode(sequence: str) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            tokens = torch.from_numpy(ESM2.encode(sequence))[None]
            hidden = model(tokens, torch.ones_like(tokens)).last_hidden_state[0]
        residues = hidden[1:-1]
        pooled = {"mean": residues.mean(0), "cls": hidden[0], "max": residues.amax(0)}
        return {name: t.numpy() for name, t in {**pooled, "residues": residues}.items()}

    return encode


@pytest.fixture(scope="session")
def offline(exported):
    """Gives the prediction of a task's folder, without a server."""
    encoder = Encoder.load(exported.huggingface)
    tasks = {path.name: open_task(path, encoder) for path in exported.tasks}

    def run(task: str, sequence: str) -> np.ndarray:
        ((_, (found,)),) = tasks[task].predict([sequence])
        return found

    return run


@pytest.mark.parametrize("pooling", POOLINGS)
def test_embeddings_equal_transformers(client, reference, pooling):
    sequences = [*proteins(40, seed=2), *proteins(3, seed=3, longest=1022), "A" * 1022]
    served = client.embed(sequences, pooling)
    assert len(served) == len(sequences)
    for sequence, got in zip(sequences, served, strict=True):
        expected = reference(sequence)[pooling]
        assert got.dtype == np.float32
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, **TOLERANCE)


@pytest.mark.parametrize("task", ["fold", "place", "sites", "adapted", "trained"])
def test_predictions_equal_offline_ones(client, offline, task):
    sequences = proteins(30, seed=4)
    for sequence, got in zip(sequences, client.predict(sequences, task), strict=True):
        expected = offline(task, sequence)
        assert got.sequence == sequence
        assert got.values.shape == expected.shape
        np.testing.assert_allclose(got.values, expected, **TOLERANCE)
        if got.task.kind is Kind.CLASSIFICATION:
            classes = np.array(got.task.classes)
            assert got.labels == classes[np.atleast_2d(expected).argmax(1)].tolist()


def test_several_tasks_at_once_equal_each_alone(client):
    sequences, tasks = proteins(20, seed=9), ["place", "fold", "adapted", "trained"]
    together = client.predict(sequences, tasks)
    assert list(together) == tasks
    for task in tasks:
        alone = client.predict(sequences, task)
        for ours, theirs in zip(together[task], alone, strict=True):
            assert (ours.name, ours.task) == (theirs.name, theirs.task)
            np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=1e-5)


def test_encoders_that_were_trained_are_not_the_frozen_one(client, exported):
    frozen = Encoder.load(exported.huggingface)
    for path in exported.tasks[-2:]:
        spec, head = load_task(path)
        (alike,) = predict(head, spec, frozen.encode(["MKTVRQGACDEF"]))
        (served,) = client.predict(["MKTVRQGACDEF"], path.name)
        assert np.abs(served.values - alike).max() > 0.01


def test_200_mixed_requests_from_16_threads_are_all_exact(server, client, reference, offline):
    """Valid and invalid ones, all outputs, both tasks: each gets its own answer."""
    connection = Client(server.url, timeout_s=60, retry=Retry.NONE)
    rng = np.random.default_rng(5)
    pool_of_proteins = proteins(60, seed=6)
    # Ahead of the threads: transformers' rotary cache is not made for several.
    embedded = {sequence: reference(sequence) for sequence in pool_of_proteins}

    def ask(index: int) -> int:
        sequences = list(np.random.default_rng(index).choice(pool_of_proteins, 1 + index % 7))
        if index % 5 == 0:
            bad = index % len(sequences)
            sequences[bad] += "J"
            place = f"'{bad + 1} of {len(sequences)}' has 'J' at position {len(sequences[bad])}"
            with pytest.raises(RequestError, match=place):
                connection.infer("esm2_embed", sequences, ["mean"])
            return 0
        task = ("fold", "place")[index % 2]
        if index % 5 == 1:
            arrays = connection.infer(task, sequences, ["prediction"])
        else:
            arrays = connection.infer("esm2_embed", sequences, [POOLINGS[index % 4], task])
        for row, sequence in enumerate(sequences):
            for name, array in arrays.items():
                pooled = name in POOLINGS
                expected = embedded[sequence][name] if pooled else offline(task, sequence)
                got = array[row, : len(sequence)] if array.ndim == 3 else array[row]
                np.testing.assert_allclose(got, expected, **TOLERANCE)
        return len(sequences)

    before = executions(server)
    with ThreadPoolExecutor(16) as pool:
        answered = list(pool.map(ask, rng.permutation(200).tolist()))
    assert sum(answered) > 400
    # The test means something only if strangers did share passes of the encoder.
    assert executions(server) - before < 200
    connection.close()


def executions(server) -> int:
    """How often the encoder's endpoint was run so far."""
    with triton.InferenceServerClient(server.url.removeprefix("grpc://")) as raw:
        return raw.get_inference_statistics("esm2_embed").model_stats[0].execution_count


def test_a_request_with_a_bad_sequence_names_it(client):
    records = [Record("good", "MKTV"), Record("sp|P1|BAD", "MK1V"), Record("also_good", "GG")]
    with pytest.raises(SequenceError, match=r"record 'sp\|P1\|BAD' has '1' at position 3"):
        client.embed(records)


def test_the_server_itself_names_what_it_refuses(server):
    connection = Client(server.url, timeout_s=60, retry=Retry.NONE)
    for endpoint, output in (("esm2_embed", "mean"), ("place", "prediction")):
        for sequence, reason in (
            ("MK?", r"record '2 of 3' has '\?' at position 3"),
            ("A" * 1023, r"record '2 of 3' has 1,023 residues, the limit is 1,022"),
            ("", r"record '2 of 3' has no residues"),
            ("ACGT" * 20, r"record '2 of 3' looks like nucleotides"),
            ("MK\u03b1", r"record '2 of 3' has '.+' at position 3"),
        ):
            with pytest.raises(RequestError, match=f"the server refused the request: {reason}"):
                connection.infer(endpoint, ["MKT", sequence, "MKV"], [output])
    connection.close()


def test_bytes_that_are_no_text_are_refused(server):
    with triton.InferenceServerClient(server.url.removeprefix("grpc://")) as raw:
        tensor = triton.InferInput("sequence", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[b"\xff\xfe\x00"]], dtype=np.object_))
        with pytest.raises(InferenceServerException, match="record '1 of 1' has") as caught:
            raw.infer("esm2_embed", [tensor])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_the_server_cleans_as_files_are_cleaned(server, reference):
    connection = Client(server.url, timeout_s=60, retry=Retry.NONE)
    served = connection.infer("esm2_embed", [" mk tv\nRQG* "], ["mean", "length"])
    np.testing.assert_allclose(served["mean"][0], reference("MKTVRQG")["mean"], **TOLERANCE)
    assert served["length"].tolist() == [[7]]
    connection.close()


def test_an_empty_request(server, client):
    assert client.embed([]).shape == (0, 64)
    assert client.embed([], "residues") == []
    assert client.predict([], "fold") == []
    connection = Client(server.url, timeout_s=60, retry=Retry.NONE)
    with pytest.raises(RequestError):
        connection.infer("esm2_embed", [], ["mean"])
    with pytest.raises(RequestError, match="batch-size must be <= 64"):
        connection.infer("esm2_embed", ["MKT"] * 65, ["mean"])
    connection.close()


def test_long_proteins_by_policy(client, reference):
    long = proteins(1, seed=7, longest=1)[0] + "".join(proteins(40, seed=8))
    assert len(long) > 2000
    with pytest.warns(TruncationWarning, match=r"1 of 2 sequences were longer than 1,022"):
        cut = client.embed([long, "MKT"], "mean")
    np.testing.assert_allclose(cut[0], reference(long[:1022])["mean"], **TOLERANCE)
    with pytest.raises(SequenceError, match=r"record '1' has .* the limit is 1,022"):
        client.embed([long], policy=SequencePolicy(long=LengthPolicy.REFUSE))
    windowed = SequencePolicy(long=LengthPolicy.WINDOWS, max_residues=100)
    text = long[:180]
    expected = np.zeros((180, 64))
    counts = np.zeros((180, 1))
    spans = [(0, 100), (75, 175), (80, 180)]
    for start, end in spans:
        expected[start:end] += reference(text[start:end])["residues"]
        counts[start:end] += 1
    expected /= counts
    (rows,) = client.embed([text], "residues", policy=windowed)
    np.testing.assert_allclose(rows, expected, **TOLERANCE)
    np.testing.assert_allclose(
        client.embed([text], "mean", policy=windowed)[0], expected.mean(0), **TOLERANCE
    )
    np.testing.assert_allclose(
        client.embed([text], "max", policy=windowed)[0], expected.max(0), **TOLERANCE
    )
    np.testing.assert_allclose(
        client.embed([text], "cls", policy=windowed)[0],
        np.mean([reference(text[start:end])["cls"] for start, end in spans], axis=0),
        **TOLERANCE,
    )


def test_what_the_server_has(client, exported):
    assert client.ready()
    models = client.models()
    own = [f"esm2_{name}" for name in ("contacts", "embed", "logits", "mutation_effect")]
    assert sorted(models) == ["adapted", *own, "fold", "place", "sites", "trained"]
    assert models["esm2_embed"].parameters["digest"] == Encoder.load(exported.huggingface).digest
    assert client.task("fold").classes == ("C", "E", "H")
    assert client.task("place").level == "sequence"
    assert client.limit() == client.limit("fold") == 1022


def test_what_the_server_has_not(client):
    with pytest.raises(
        NotFoundError, match=r"no task 'scl'; its tasks are: adapted, fold, place, sites, trained"
    ):
        client.predict(["MKT"], "scl")
    with pytest.raises(NotFoundError, match="no task 'esm2_embed'"):
        client.predict(["MKT"], "esm2_embed")
    with pytest.raises(InputError, match="pooling 'sum' is not one of"):
        client.embed(["MKT"], "sum")


def test_several_outputs_of_one_pass_stream_in_order(client, reference):
    sequences = proteins(90, seed=9)
    seen = 0

    def count(residues: int) -> None:
        nonlocal seen
        seen += residues

    results = client.stream(iter(sequences), ("mean", "residues"), on_progress=count)
    for position, (sequence, result) in enumerate(zip(sequences, results, strict=True), start=1):
        assert result.name == str(position)
        expected = reference(sequence)
        for name in ("mean", "residues"):
            np.testing.assert_allclose(result.values[name], expected[name], **TOLERANCE)
    assert seen == sum(map(len, sequences))


def test_a_deadline_is_an_error_of_its_own(server):
    connection = Client(server.url, timeout_s=0.001, retry=Retry.NONE)
    with pytest.raises(DeadlineError, match="did not answer in time"):
        connection.infer("esm2_embed", ["A" * 1000] * 32, ["mean"])
    connection.close()
