"""Many requests share passes of the encoder, and none of them notices."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import SequenceError
from bionemo_ext.huggingface.adapter import Adapter
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import Predictor
from bionemo_ext.inference.task import Head, HeadKind, Pooling, TaskSpec
from bionemo_ext.serving.answers import Answerer, Ask

RESIDUE = TaskSpec(
    "fold", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H"), HeadKind.CONVOLUTION, 64, 8
)
SEQUENCE = TaskSpec("heat", Level.SEQUENCE, Kind.REGRESSION, (), HeadKind.MLP, 64, 8)
PLACE = TaskSpec(
    "place", Level.SEQUENCE, Kind.MULTILABEL, ("in", "out"), HeadKind.LINEAR, 64, 0,
    pooling=Pooling.ATTENTION,
)  # fmt: skip
OUTPUTS = ("mean", "cls", "max", "residues", "length", "fold", "heat", "place")


@pytest.fixture(scope="module")
def answerer(tiny_hf_folder):
    torch.manual_seed(2)
    encoder = Encoder.load(tiny_hf_folder)
    name = "esm.encoder.layer.1.output.dense"
    pair = (torch.randn(2, encoder.config.ffn), torch.randn(encoder.hidden_size, 2))
    encoders = {"heat": encoder.adapted(Adapter(2, 2.0, {name: pair}))}
    tasks = {
        spec.name: Predictor(spec, Head(spec).eval(), encoders.get(spec.name, encoder))
        for spec in (RESIDUE, SEQUENCE, PLACE)
    }
    return Answerer(encoder, tasks, max_residues=40, max_tokens=64)


proteins = st.text("ACDEFGHIKLMNPQRSTVWYX", min_size=1, max_size=40)
asks = st.builds(
    Ask,
    st.lists(proteins.map(str.encode), min_size=1, max_size=4),
    st.frozensets(st.sampled_from(OUTPUTS), min_size=1),
)


@given(st.lists(asks, min_size=1, max_size=6))
def test_an_answer_does_not_depend_on_the_neighbours(answerer, together):
    for ask, answer in zip(together, answerer.answer(together), strict=True):
        assert set(answer) == ask.outputs
        for row, sequence in enumerate(ask.sequences):
            (alone,) = answerer.answer([Ask([sequence], ask.outputs)])
            for name, array in answer.items():
                expected = alone[name][0]
                assert array.dtype == (np.int32 if name == "length" else np.float32)
                got = array[row]
                if got.ndim == 2:
                    assert not got[len(sequence) :].any()
                    got = got[: len(sequence)]
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_a_wrong_request_spoils_no_other(answerer):
    bad = Ask([b"MKT", b"M" * 41], frozenset({"mean"}))
    good = Ask([b"MKT"], frozenset({"mean"}))
    first, second, third = answerer.answer([good, bad, good])
    assert isinstance(second, SequenceError)
    assert str(second) == "record '2 of 2' has 41 residues, the limit is 40"
    np.testing.assert_array_equal(first["mean"], third["mean"])
    np.testing.assert_array_equal(first["mean"], answerer.answer([good])[0]["mean"])


def test_three_outputs_of_one_sequence_are_one_pass(answerer, monkeypatch):
    passes = []
    encode = answerer.encoder.encode
    monkeypatch.setattr(
        answerer.encoder, "encode", lambda batch: passes.append(list(batch)) or encode(batch)
    )
    outputs = [frozenset({name}) for name in ("mean", "fold", "heat")]
    answerer.answer([Ask([b"MKTVRQG"], names) for names in outputs])
    assert passes == [["MKTVRQG"]]
    passes.clear()
    answerer.answer([Ask([b"MKT", b"GG"], frozenset({"length"}))])
    assert passes == []


def test_a_pass_stays_within_its_tokens(answerer, monkeypatch):
    sizes = []
    encode = answerer.encoder.encode
    monkeypatch.setattr(
        answerer.encoder,
        "encode",
        lambda batch: sizes.append(sum(len(s) + 2 for s in batch)) or encode(batch),
    )
    sequences = [b"M" * n for n in range(1, 41)]
    answerer.answer([Ask(sequences, frozenset({"mean"}))])
    assert max(sizes) <= 64
    assert sum(sizes) == sum(len(s) + 2 for s in sequences)
    assert len(sizes) < len(sequences)


def test_bfloat16_answers_in_fp32_and_near(tiny_hf_folder, answerer):
    low = Answerer(Encoder.load(tiny_hf_folder, "bfloat16"), answerer.tasks, 40, 64)
    ask = Ask([b"MKTVRQGLLL", b"ACDEFG"], frozenset(OUTPUTS))
    (exact,), (rounded,) = answerer.answer([ask]), low.answer([ask])
    for name, array in rounded.items():
        assert array.dtype == exact[name].dtype
        np.testing.assert_allclose(array, exact[name], rtol=0, atol=0.1)


def test_tasks_on_one_encoder_share_its_pass(answerer, monkeypatch):
    passes = []
    embed = Encoder.embed

    def counted(self, sequences, max_tokens=4096):
        passes.append(list(sequences))
        return embed(self, sequences, max_tokens)

    monkeypatch.setattr(Encoder, "embed", counted)
    answerer.answer([Ask([b"MKTVRQG"], frozenset({"fold", "place", "mean", "residues"}))])
    assert passes == [["MKTVRQG"]]
    answerer.answer([Ask([b"MKTVRQG"], frozenset({"fold", "heat"}))])
    assert passes[1:] == [["MKTVRQG"]] * 2  # the adapted encoder has a pass of its own
