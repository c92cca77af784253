"""Many requests share passes of the encoder, and none of them notices."""

import gc
import itertools
import weakref

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
OUTPUTS = (
    "mean",
    "cls",
    "max",
    "residues",
    "length",
    "fold",
    "heat",
    "place",
    "logits",
    "contacts",
)


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
                    assert not got[len(expected) :].any()
                    if name == "contacts":
                        assert not got[:, len(expected) :].any()
                        got = got[:, : len(expected)]
                    got = got[: len(expected)]
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_a_wrong_request_spoils_no_other(answerer):
    bad = Ask([b"MKT", b"M" * 41], frozenset({"mean"}))
    good = Ask([b"MKT"], frozenset({"mean"}))
    first, second, third = answerer.answer([good, bad, good])
    assert isinstance(second, SequenceError)
    assert str(second) == "record '2 of 2' has 41 residues, the limit is 40"
    np.testing.assert_array_equal(first["mean"], third["mean"])
    np.testing.assert_array_equal(first["mean"], answerer.answer([good])[0]["mean"])


@pytest.fixture
def passes(monkeypatch):
    """The sequences of each pass of an encoder, and the layers that were asked of it."""
    seen = []
    hidden_states = Encoder.hidden_states

    def noted(self, tokens, offsets, layers):
        parts = [tokens[a:b].numpy() for a, b in itertools.pairwise(offsets)]
        seen.append(([self.alphabet.decode(part) for part in parts], set(layers)))
        return hidden_states(self, tokens, offsets, layers)

    monkeypatch.setattr(Encoder, "hidden_states", noted)
    return seen


def test_outputs_of_one_encoder_share_its_pass(answerer, passes):
    outputs = [frozenset({name}) for name in ("mean", "fold", "place", "residues", "logits")]
    answerer.answer([Ask([b"MKTVRQG"], names) for names in outputs])
    assert passes == [(["MKTVRQG"], {2})]
    passes.clear()
    answerer.answer([Ask([b"MKT", b"GG"], frozenset({"length"}))])
    assert passes == []
    answerer.answer([Ask([b"MKTVRQG"], frozenset({"fold", "heat"}))])
    assert passes == [(["MKTVRQG"], {2})] * 2  # the adapted encoder has a pass of its own


def test_a_pass_stays_within_its_tokens(answerer, passes):
    sequences = [b"M" * n for n in range(1, 41)]
    answerer.answer([Ask(sequences, frozenset({"mean"}))])
    sizes = [sum(len(s) + 2 for s in batch) for batch, _ in passes]
    assert max(sizes) <= 64
    assert sum(sizes) == sum(len(s) + 2 for s in sequences)
    assert len(sizes) < len(sequences)


def test_layers_of_one_sequence_share_a_pass_that_goes_no_deeper(answerer, passes):
    mean = frozenset({"mean"})
    layers = [Ask([b"MKT", b"GG"], mean, [0, -2]), Ask([b"GG"], mean, [0])]
    first, second = answerer.answer(layers)
    assert sorted(passes) == [(["GG"], {0, 1}), (["MKT"], {0})]
    alone = [answerer.answer([Ask([s], mean, [n])])[0] for s, n in ((b"MKT", 0), (b"GG", 1))]
    np.testing.assert_allclose(first["mean"], [a["mean"][0] for a in alone], rtol=0, atol=1e-6)
    assert np.abs(first["mean"][1] - second["mean"][0]).max() > 0.01


def test_what_nobody_waits_for_is_not_computed(answerer, passes):
    def asked(*sequences, cancelled):
        return Ask(sequences, frozenset({"mean"}), (), cancelled)

    gone = asked(b"MKT", b"GG", cancelled=lambda: True)
    kept = asked(b"GG", b"AAA", cancelled=lambda: False)
    first, second = answerer.answer([gone, kept])
    assert first is None
    assert second["mean"].shape == (2, 64)
    assert sorted(s for batch, _ in passes for s in batch) == ["AAA", "GG"]


def test_a_request_that_is_cancelled_midway_stops_its_later_passes(answerer, passes):
    sequences = [b"M" * n for n in range(30, 40)]
    ask = Ask(sequences, frozenset({"mean"}), (), lambda: len(passes) >= 2)
    assert answerer.answer([ask]) == [None]
    assert len(passes) == 2


def test_masked_logits_alone_are_those_beside_others(answerer):
    """Alone they take a pass of their own, which asks the last layer at masks only."""
    masked = [b"MK<mask>VRQ", b"<mask>MK<mask>", b"MKTV"]
    alone = Ask(masked, frozenset({"masked_logits"}))
    beside = Ask(masked, frozenset({"masked_logits", "logits"}))
    (expected,) = answerer.answer([beside])
    before = answerer.counts["passes"]
    found, embedded = answerer.answer([alone, Ask([b"MKTVRQ"], frozenset({"mean"}))])
    assert answerer.counts["passes"] == before + 2
    assert found["masked_logits"].shape == (3, 2, 33)
    np.testing.assert_allclose(found["masked_logits"], expected["masked_logits"], rtol=0, atol=1e-5)
    assert embedded["mean"].shape == (1, 64)


def test_masks_are_for_logits_alone(answerer):
    ask = Ask([b"MK<mask>VRQ", b"AAA"], frozenset({"logits", "masked_logits"}))
    (answer,) = answerer.answer([ask])
    masked, there = answer["masked_logits"][0, 0], answer["logits"][0, 2]
    np.testing.assert_allclose(masked, there, rtol=0, atol=1e-5)
    assert not answer["masked_logits"][1].any()
    for outputs in ({"mean"}, {"logits", "mean"}, {"contacts"}, {"fold"}):
        (error,) = answerer.answer([Ask([b"MK<mask>"], frozenset(outputs))])
        assert str(error).startswith("record '1 of 1' has a <mask>, which only")


def test_an_answer_beyond_the_limit_is_refused_before_it_is_made(answerer, passes):
    small = Answerer(answerer.encoder, {}, 40, 64, max_answer_bytes=4 * 2 * 40 * 64)
    outputs = frozenset({"residues"})
    fits, exceeds = Ask([b"M" * 40, b"M"], outputs), Ask([b"M", b"M" * 40, b"M"], outputs)
    answer, error = small.answer([fits, exceeds])
    assert answer["residues"].shape == (2, 40, 64)
    assert str(error) == (
        "record '2 of 3' of 40 residues makes the answer 30,720 bytes large, the limit is "
        "20,480: send fewer sequences at once"
    )
    assert not any("M" * 40 in batch and len(batch) > 2 for batch, _ in passes)


def test_what_was_done_is_counted(answerer):
    fresh = Answerer(answerer.encoder, {}, 40, 64)
    fresh.answer([Ask([b"M" * 10, b"G" * 4], frozenset({"residues"})), Ask([b"J"], frozenset())])
    assert fresh.counts == {
        "passes": 1, "tokens": 18, "sequences": 2, "residues": 14, "rows": 20, "padding_rows": 6,
    }  # fmt: skip


def test_bfloat16_answers_in_fp32_and_near(tiny_hf_folder, answerer):
    low = Answerer(Encoder.load(tiny_hf_folder, "bfloat16"), answerer.passes.tasks, 40, 64)
    ask = Ask([b"MKTVRQGLLL", b"ACDEFG"], frozenset(OUTPUTS))
    (exact,), (rounded,) = answerer.answer([ask]), low.answer([ask])
    for name, array in rounded.items():
        assert array.dtype == exact[name].dtype
        np.testing.assert_allclose(array, exact[name], rtol=0, atol=0.1)


@pytest.mark.parametrize("sequence", [b"MKT", b"MK1", b"M" * 41], ids=["good", "bad", "long"])
def test_a_request_ends_with_its_answer(answerer, sequence):
    """What is left of it holds shared memory of Triton's, of which there is little."""
    ask = Ask([sequence], frozenset({"mean"}))
    ended = weakref.ref(ask)
    gc.disable()
    try:
        answers = answerer.answer([ask])
        del ask
        assert ended() is None
    finally:
        gc.enable()
    assert len(answers) == 1
