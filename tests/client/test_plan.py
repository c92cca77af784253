"""Records become requests and come back in order, whole, whatever their lengths."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.client.streaming import costs, plan
from bionemo_ext.client.streaming.costs import Costs
from bionemo_ext.contract import (
    EncoderFacts,
    Endpoint,
    contacts_endpoint,
    encoder_endpoint,
    mutation_effect_endpoint,
)
from bionemo_ext.errors import SequenceError
from bionemo_ext.sequences import LengthPolicy, Record, SequencePolicy

LIMIT = 20
HIDDEN = 3
ENCODER = encoder_endpoint(EncoderFacts(hidden_size=HIDDEN))
proteins = st.lists(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=75), max_size=30)


def answer(request: plan.Request) -> dict[str, np.ndarray]:
    """What a server would say whose rows depend on the residue alone."""
    sequences = [piece.sequence for piece in request.pieces]
    longest = max(map(len, sequences))
    rows = np.zeros((len(sequences), longest, HIDDEN), dtype=np.float32)
    for index, sequence in enumerate(sequences):
        rows[index, : len(sequence)] = residue_rows(sequence)
    lengths = np.array([[len(sequence)] for sequence in sequences])
    arrays = {
        "residues": rows,
        "mean": rows.sum(axis=1) / lengths,
        "max": np.stack([residue_rows(sequence).max(axis=0) for sequence in sequences]),
        "cls": np.array([[len(s), ord(s[0]), ord(s[-1])] for s in sequences], dtype=np.float32),
    }
    return {name: arrays[name].astype(np.float32) for name in request.outputs}


def residue_rows(sequence: str) -> np.ndarray:
    letters = np.frombuffer(sequence.encode(), dtype=np.uint8).astype(np.float32)
    return np.stack([letters, -letters, letters**2], axis=1)


def of_batches(endpoint: Endpoint, size: int) -> Endpoint:
    return replace(endpoint, max_batch_size=size)


def run(sequences, outputs, policy):
    chunk = list(plan.jobs(plan.named(sequences), policy, LIMIT, outputs))
    answers = [[{}] * len(job.spans) for job in chunk]
    for request in plan.requests(chunk, Costs(of_batches(ENCODER, 4), outputs)):
        parts = plan.unpack(request, answer(request), ENCODER)
        for piece, part in zip(request.pieces, parts, strict=True):
            assert answers[piece.job][piece.window] == {}
            answers[piece.job][piece.window] = part
    return [plan.result(job, outputs, parts) for job, parts in zip(chunk, answers, strict=True)]


@given(proteins)
def test_windows_put_together_equal_the_whole(sequences):
    outputs = ("mean", "max", "residues")
    results = run(sequences, outputs, SequencePolicy(long=LengthPolicy.WINDOWS))
    assert [result.name for result in results] == [str(i + 1) for i in range(len(sequences))]
    for sequence, result in zip(sequences, results, strict=True):
        rows = residue_rows(sequence)
        assert result.sequence == sequence
        assert (result.windows > 1) == (len(sequence) > LIMIT)
        assert tuple(result.values) == outputs
        np.testing.assert_allclose(result.values["residues"], rows, rtol=1e-6)
        np.testing.assert_allclose(result.values["mean"], rows.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(result.values["max"], rows.max(axis=0), rtol=1e-6)


@given(proteins)
def test_cls_of_a_long_protein_is_the_mean_of_its_windows(sequences):
    results = run(sequences, ("cls",), SequencePolicy(long=LengthPolicy.WINDOWS))
    for sequence, result in zip(sequences, results, strict=True):
        spans = plan.windows(len(sequence), LIMIT)
        parts = [(e - s, ord(sequence[s]), ord(sequence[e - 1])) for s, e in spans]
        np.testing.assert_allclose(result.values["cls"], np.mean(parts, axis=0), rtol=1e-5)


@given(proteins)
def test_truncation_keeps_the_beginning_and_the_true_length(sequences):
    for sequence, result in zip(
        sequences, run(sequences, ("residues",), SequencePolicy()), strict=True
    ):
        assert result.sequence == sequence[:LIMIT]
        assert result.length == len(sequence)
        assert result.truncated == (len(sequence) > LIMIT)
        np.testing.assert_array_equal(result.values["residues"], residue_rows(result.sequence))


def test_a_long_protein_is_refused_by_name():
    policy = SequencePolicy(long=LengthPolicy.REFUSE)
    records = [Record("fine", "MKT"), Record("titin", "M" * 21)]
    with pytest.raises(SequenceError, match=r"record 'titin' has 21 residues, the limit is 20"):
        list(plan.jobs(records, policy, LIMIT, ("mean",)))


def proteins_of(lengths, outputs):
    return list(plan.jobs(plan.named("A" * n for n in lengths), SequencePolicy(), 10**6, outputs))


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=60),
    st.integers(1, 64),
)
def test_requests_stay_within_batch_and_tokens(lengths, max_batch):
    chunk = proteins_of(lengths, ("mean",))
    found = plan.requests(chunk, Costs(of_batches(ENCODER, max_batch), ("mean",)))
    sent = sorted(piece.job for request in found for piece in request.pieces)
    assert sent == list(range(len(lengths)))
    for request in found:
        tokens = sum(len(piece.sequence) + 2 for piece in request.pieces)
        assert len(request.pieces) <= max_batch
        assert tokens <= costs.REQUEST_TOKENS or len(request.pieces) == 1


@given(st.lists(st.integers(1, 20_000), max_size=40))
def test_chunks_keep_order_and_bound_memory(lengths):
    todo = proteins_of(lengths, ("mean",))
    found = list(plan.chunks(iter(todo), Costs(ENCODER, ("mean",)), 2))
    assert [job for chunk in found for job in chunk] == todo
    for chunk in found:
        assert sum(len(job.sequence) for job in chunk[:-1]) < 2 * costs.REQUEST_TOKENS


@pytest.mark.parametrize(
    ("endpoint", "output", "masked"),
    [
        (encoder_endpoint(EncoderFacts(hidden_size=1280)), "residues", False),
        (contacts_endpoint(EncoderFacts()), "contacts", False),
        (mutation_effect_endpoint(EncoderFacts()), "scan", True),
    ],
)
@given(lengths=st.lists(st.integers(1, 1022), min_size=1, max_size=60))
def test_large_and_dear_answers_are_asked_for_a_few_at_a_time(endpoint, output, masked, lengths):
    cost = Costs(endpoint, (output,), masked)
    chunks = list(plan.chunks(iter(proteins_of(lengths, (output,))), cost, 4))
    assert [len(job.sequence) for chunk in chunks for job in chunk] == lengths
    for chunk in chunks:
        sizes = [cost.answer_bytes(len(job.sequence)) for job in chunk]
        assert sum(sizes[:-1]) < plan.CHUNK_BYTES
        assert sum(cost.work(len(job.sequence)) for job in chunk[:-1]) < 4 * costs.REQUEST_WORK
        for request in plan.requests(chunk, cost):
            count, longest = len(request.pieces), len(request.pieces[0].sequence)
            assert count <= endpoint.max_batch_size
            if count > 1:
                assert count * cost.answer_bytes(longest) <= costs.REQUEST_BYTES
                work = sum(cost.work(len(piece.sequence)) for piece in request.pieces)
                assert work <= costs.REQUEST_WORK


@pytest.mark.parametrize("output", sorted(costs.WHOLE_ONLY))
@pytest.mark.parametrize("long", list(LengthPolicy))
def test_what_only_a_whole_protein_has_is_never_of_a_part(output, long):
    records = [Record("fine", "MKT"), Record("titin", "M" * 21)]
    with pytest.raises(SequenceError, match=r"record 'titin' has 21 residues, the limit is 20"):
        list(plan.jobs(records, SequencePolicy(long=long), LIMIT, (output, "mean")))


def test_masks_are_residues_where_logits_are_asked_for_and_refused_elsewhere():
    (job,) = plan.jobs([Record("a", "mk<mask>T")], SequencePolicy(), 4, ("logits",))
    assert (job.length, plan.spelled(job.sequence)) == (4, "MK<mask>T")
    with pytest.raises(SequenceError, match="record 'a' has a <mask>, which only a request for"):
        list(plan.jobs([Record("a", "mk<mask>T")], SequencePolicy(), 4, ("logits", "mean")))
