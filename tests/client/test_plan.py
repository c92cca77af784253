"""Records become requests and come back in order, whole, whatever their lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.client import plan
from bionemo_ext.errors import SequenceError
from bionemo_ext.sequences import LengthPolicy, Record, SequencePolicy

LIMIT = 20
HIDDEN = 3
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


def run(sequences, outputs, policy):
    chunk = list(plan.jobs(plan.named(sequences), policy, LIMIT))
    answers = [[{}] * len(job.spans) for job in chunk]
    for request in plan.requests(chunk, outputs, max_batch=4):
        parts = plan.unpack(request, answer(request))
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
        list(plan.jobs(records, policy, LIMIT))


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=60),
    st.integers(1, 64),
)
def test_requests_stay_within_batch_and_tokens(lengths, max_batch):
    chunk = list(plan.jobs(plan.named("A" * n for n in lengths), SequencePolicy(), 10_000))
    found = plan.requests(chunk, ("mean",), max_batch)
    sent = sorted(piece.job for request in found for piece in request.pieces)
    assert sent == list(range(len(lengths)))
    for request in found:
        tokens = sum(len(piece.sequence) + 2 for piece in request.pieces)
        assert len(request.pieces) <= max_batch
        assert tokens <= plan.REQUEST_TOKENS or len(request.pieces) == 1


@given(st.lists(st.integers(1, 20_000), max_size=40))
def test_chunks_keep_order_and_bound_memory(lengths):
    todo = list(plan.jobs(plan.named("A" * n for n in lengths), SequencePolicy(), 10**6))
    found = list(plan.chunks(iter(todo)))
    assert [job for chunk in found for job in chunk] == todo
    for chunk in found:
        assert sum(len(job.sequence) for job in chunk[:-1]) < plan.CHUNK_RESIDUES
