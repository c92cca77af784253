"""Two models in one server, an ESM-2 and an ESM-1nv, each with endpoints of its own."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from endpoint_reference import TOLERANCE, Asking, Reference, proteins
from kept_servers import kept
from transformers import MegatronBertConfig, MegatronBertForMaskedLM
from tritonclient.utils import InferenceServerException

from bionemo_ext.client import Client
from bionemo_ext.contract import QueuePolicy, from_pbtxt, to_pbtxt
from bionemo_ext.errors import InputError, NotFoundError
from bionemo_ext.export import export
from bionemo_ext.huggingface import ESM1nvConfig, write_folder
from bionemo_ext.huggingface.shapes import without_copies
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, load_task, save_task
from bionemo_ext.sequences import ESM1NV
from bionemo_ext.serving import LocalServer

pytestmark = pytest.mark.server

SEQUENCES = proteins(6, 11)


def save_random_esm1nv(folder):
    torch.manual_seed(5)
    config = ESM1nvConfig(layers=3, hidden=48, heads=4, max_positions=514)
    model = MegatronBertForMaskedLM(MegatronBertConfig(**config.huggingface())).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    state["bert.embeddings.token_type_embeddings.weight"].zero_()
    model.load_state_dict(state)
    write_folder(folder, config, without_copies(state, "esm1nv"))
    # transformers has one activation for all; the head of ESM-1nv has the erf GELU.
    model.cls.predictions.transform.transform_act_fn = torch.nn.GELU()
    return model


def save_task_for(encoder_folder, folder, name, kinds):
    level, kind = kinds
    encoder = Encoder.load(encoder_folder)
    spec = TaskSpec(
        name, level, kind, (), HeadKind.LINEAR, encoder.hidden_size, 0,
        encoder_digest=encoder.digest,
    )  # fmt: skip
    save_task(folder, spec, Head(spec).eval())
    return folder


@pytest.fixture(scope="module")
def models(random_esm2, exported, tmp_path_factory):
    """A small ESM-2 with a queue of one place, and ESM-1nv; their references and repository."""
    folder = tmp_path_factory.mktemp("several")
    small = random_esm2(folder / "small", layers=3, hidden=32, heads=2)
    with torch.no_grad():
        small.esm.contact_head.regression.bias.zero_()  # probabilities far from 0 and 1
    small.save_pretrained(folder / "small")
    esm1nv = save_random_esm1nv(folder / "esm1nv")
    spec, _ = load_task(exported.tasks[-1])
    kinds = (spec.level, spec.kind)
    tasks = [
        save_task_for(folder / name, folder / f"task-{name}", f"of_{name}", kinds)
        for name in ("small", "esm1nv")
    ]
    export(folder / "small", folder / "out", tasks[:1], name="esm2_small")
    export(folder / "esm1nv", folder / "out", tasks[1:], add=True)
    config = folder / "out" / "triton" / "esm2_small_embed" / "config.pbtxt"
    endpoint = replace(from_pbtxt(config.read_text()), queue=QueuePolicy(1, 60))
    config.write_text(to_pbtxt(endpoint))
    return Reference(folder / "small"), esm1nv, folder / "out" / "triton"


@pytest.fixture(scope="module")
def several(models):
    with kept(LocalServer(models[-1], threads=1)) as running:
        yield running


@pytest.fixture(scope="module")
def ask(several):
    return Asking(several.url)


def test_what_is_served(several):
    with Client(several.url) as client:
        assert sorted(client.models()) == [
            "esm1nv_embed", "esm1nv_logits", "esm1nv_mutation_effect", "esm2_small_contacts",
            "esm2_small_embed", "esm2_small_logits", "esm2_small_mutation_effect", "of_esm1nv",
            "of_small",
        ]  # fmt: skip


def test_the_client_asks_the_model_it_is_told(several, models):
    small, _, _ = models
    with Client(several.url, model="esm2_small") as client:
        for sequence, vector in zip(SEQUENCES, client.embed(SEQUENCES), strict=True):
            np.testing.assert_allclose(vector, small.layer(sequence, -1)["mean"], **TOLERANCE)
        assert client.limit() == 1022
        with pytest.raises(InputError, match=r"several models \(esm1nv_embed, esm2_small_embed\)"):
            client.predict(SEQUENCES, ["of_small", "of_esm1nv"])
    with Client(several.url, model="esm1nv") as client:
        assert client.embed(SEQUENCES).shape == (6, 48)
        assert client.limit() == 512
    with Client(several.url) as client, pytest.raises(NotFoundError, match="esm2_embed"):
        client.embed(SEQUENCES)


def test_contacts_that_are_neither_0_nor_1(ask, models):
    small, _, _ = models
    for sequence in SEQUENCES:
        found = ask("esm2_small_contacts", [sequence], "contacts")[0]
        np.testing.assert_allclose(found, small.contacts(sequence), **TOLERANCE)
        assert np.ptp(found) > 0.1 or len(sequence) < 5  # one pair has nothing to differ from


def test_esm1nv_equals_transformers(ask, models):
    _, model, _ = models
    logits = ask("esm1nv_logits", SEQUENCES, "logits")
    scans = ask("esm1nv_mutation_effect", SEQUENCES, "scan")
    layers = [i % 4 for i in range(len(SEQUENCES))]
    means = ask("esm1nv_embed", SEQUENCES, "mean", layer=layers)
    columns = [ESM1NV.ids[letter] for letter in "ACDEFGHIKLMNPQRSTVWY"]
    for i, sequence in enumerate(SEQUENCES):
        tokens = torch.from_numpy(ESM1NV.encode(sequence))[None]
        with torch.inference_mode():
            out = model(tokens, output_hidden_states=True)
        expected = out.logits[0, 1:-1].numpy()
        np.testing.assert_allclose(logits[i, : len(sequence)], expected, **TOLERANCE)
        own = expected[range(len(sequence)), tokens[0, 1:-1]]
        scan = expected[:, columns] - own[:, None]
        np.testing.assert_allclose(scans[i, : len(sequence)], scan, **TOLERANCE)
        hidden = out.hidden_states[layers[i]][0, 1:-1].mean(0)
        np.testing.assert_allclose(means[i], hidden, **TOLERANCE)


def test_a_full_queue_is_told_as_such_through_a_thin_endpoint(ask, models):
    """Some of many requests find the queue full; the others are exact."""
    small, _, _ = models
    long = [s * 4 for s in proteins(24, 12, longest=100)]
    expected = {s: small.logits(s) for s in long}

    def one(index):
        endpoint = ("esm2_small_logits", "of_small", "esm2_small_embed")[index % 3]
        output = ("logits", "prediction", "mean")[index % 3]
        sequence = long[index]
        try:
            (found,) = ask(endpoint, [sequence], output)
        except InferenceServerException as error:
            return error.status(), error.message()
        if output == "logits":
            np.testing.assert_allclose(found, expected[sequence], **TOLERANCE)
        return "ok", ""

    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(one, range(24)))
    refused = [message for status, message in answers if status == "StatusCode.UNAVAILABLE"]
    assert {status for status, _ in answers} == {"ok", "StatusCode.UNAVAILABLE"}, answers
    assert set(refused) == {"the queue is full: esm2_small_embed has a maximum queue size of 1"}


@pytest.mark.parametrize("endpoint", ["esm1nv_embed", "esm1nv_logits", "of_esm1nv"])
def test_a_request_may_wait_for_less_than_the_queue_lets_it(ask, endpoint):
    output = {"esm1nv_embed": "mean", "esm1nv_logits": "logits"}.get(endpoint, "prediction")
    long = [s * 9 for s in proteins(64, 13, longest=50)]
    with ThreadPoolExecutor(3) as threads:
        busy = [threads.submit(ask, "esm1nv_embed", long, "mean", layer=[3] * 64) for _ in range(3)]
        time.sleep(0.1)
        with pytest.raises(InferenceServerException) as caught:
            ask(endpoint, ["MKT"], output, timeout=1000)  # microseconds
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        told = caught.value.message()
        assert told == "the request waited too long in the queue of esm1nv_embed"
        patient = ask(endpoint, ["MKT"], output, timeout=60_000_000)
        np.testing.assert_allclose(patient, ask(endpoint, ["MKT"], output), rtol=0, atol=1e-5)
        assert all(len(one.result()) == 64 for one in busy)
