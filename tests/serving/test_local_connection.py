"""A model folder answers in this process as a server would."""

import numpy as np
import pytest

from bionemo_ext.client import Client
from bionemo_ext.errors import InputError, NotFoundError, SequenceError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.masked_model import EncoderLogits
from bionemo_ext.sequences import LengthPolicy, Record, SequencePolicy
from bionemo_ext.serving.local_connection import LocalConnection
from bionemo_ext.tasks.variant_effects import Method, scan, score_variants

SEQUENCES = ["MKTVRQGACDEFGHIKLMNPQRSTVWY", "GG", "M" * 1022]
TOLERANCE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module")
def encoder(tiny_hf_folder):
    return Encoder.load(tiny_hf_folder)


@pytest.fixture(scope="module")
def client(tiny_hf_folder):
    connection = LocalConnection(tiny_hf_folder, model="esm2")
    with Client(str(tiny_hf_folder), connection=connection) as found:
        yield found


def test_endpoints_are_those_of_a_server(client):
    assert client.ready()
    names = ["esm2_contacts", "esm2_embed", "esm2_logits", "esm2_mutation_effect"]
    assert list(client.models()) == names
    assert client.limit() == 1022
    with pytest.raises(NotFoundError, match="the server has no task 'fold'"):
        client.predict(SEQUENCES, "fold")


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_embeddings(client, encoder, pooling):
    expected = [getattr(encoder.encode([one]), pooling)()[0].numpy() for one in SEQUENCES]
    np.testing.assert_allclose(client.embed(SEQUENCES, pooling), expected, **TOLERANCE)


def test_windows_of_a_long_protein(client, encoder):
    long = Record("long", "MKTVRQG" * 200)
    policy = SequencePolicy(long=LengthPolicy.WINDOWS)
    (rows,) = client.embed(long, "residues", policy=policy)
    assert rows.shape == (1400, encoder.hidden_size)
    (first,) = encoder.encode([long.sequence[:1022]]).residues()
    np.testing.assert_allclose(rows[:300], first[:300].numpy(), **TOLERANCE)


def test_logits_contacts_and_effects(client, encoder):
    wild, other = SEQUENCES[:2]
    model = EncoderLogits(encoder)
    for found, expected in zip(
        client.logits([wild, other]), model.logits([wild, other]), strict=True
    ):
        np.testing.assert_allclose(found, expected, **TOLERANCE)
    np.testing.assert_allclose(client.contacts(wild)[0], encoder.contacts(wild), **TOLERANCE)
    for method in (Method.WILDTYPE, Method.MASKED):
        (found,) = client.scan(wild, method.value)
        np.testing.assert_allclose(found, scan(model, wild, method), **TOLERANCE)
    from bionemo_ext.contract.variants import parse_variants

    texts = ["K2W", "T3A:Y27C"]
    expected = score_variants(
        model, wild, parse_variants(",".join(texts), wild, "x"), Method.MASKED
    )
    np.testing.assert_allclose(client.score(wild, texts, "masked"), expected, **TOLERANCE)


def test_bad_input_is_a_sentence(client):
    with pytest.raises(SequenceError, match="record 'odd' has '1' at position 3"):
        client.embed([Record("fine", "MKT"), Record("odd", "MK1")])
    with pytest.raises(InputError, match=r"'A2W' of record '1' has 'A' as wild type at position 2"):
        client.score("MKT", ["A2W"], "wildtype")


def test_tasks(exported_task, client):
    """Of a task folder, alone and with another output of the same pass."""
    folder, task, expected = exported_task
    with Client("local", connection=LocalConnection(folder, [task], model="esm2")) as asked:
        (found,) = asked.predict(SEQUENCES[0], "place")
        np.testing.assert_allclose(found.values, expected, **TOLERANCE)
        assert found.labels[0] in ("in", "out")


@pytest.fixture
def exported_task(tiny_hf_folder, encoder, tmp_path):
    import torch

    from bionemo_ext.contract import Kind, Level
    from bionemo_ext.inference.predictor import open_task
    from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, save_task

    torch.manual_seed(0)
    spec = TaskSpec(
        "place", Level.SEQUENCE, Kind.CLASSIFICATION, ("in", "out"), HeadKind.MLP, 64, 16,
        encoder_digest=encoder.digest,
    )  # fmt: skip
    save_task(tmp_path / "place", spec, Head(spec).eval())
    task = open_task(tmp_path / "place", encoder)
    ((_, (expected,)),) = task.predict(SEQUENCES[:1])
    return tiny_hf_folder, tmp_path / "place", expected
