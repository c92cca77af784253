"""Each endpoint equals transformers elementwise, in any company."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from endpoint_reference import (
    AMINO_ACIDS,
    TOLERANCE,
    Asking,
    Reference,
    proteins,
    variants,
    with_masks,
)

pytestmark = pytest.mark.server

LAYERS = range(-3, 3)  # of the tiny model: before the first, after the first, the last
MIXED = [*proteins(9, 1), "M", *proteins(1, 2, longest=400)]


@pytest.fixture(scope="module")
def ask(server):
    return Asking(server.url)


@pytest.fixture(scope="module")
def reference(exported):
    return Reference(exported.huggingface)


def rows(array, sequences):
    """Each sequence's own part, and nothing but zeros beyond it."""
    for row, sequence in zip(array, sequences, strict=True):
        length = len(sequence.replace("<mask>", "X"))
        assert not row[length:].any()
        yield row[:length]


@pytest.mark.parametrize("company", [False, True])
def test_logits(ask, reference, company):
    sequences = [with_masks(s, i) for i, s in enumerate(MIXED)]
    sequences += [*MIXED[:3], "<mask>", "<mask>MK<mask>", "M<mask>K", "<mask>" * 7]
    if company:
        found = list(rows(ask("esm2_logits", sequences, "logits"), sequences))
    else:
        found = [ask("esm2_logits", [sequence], "logits")[0] for sequence in sequences]
    for sequence, logits in zip(sequences, found, strict=True):
        np.testing.assert_allclose(logits, reference.logits(sequence), **TOLERANCE)


def test_each_layer_in_each_pooling(ask, reference):
    outputs = ("mean", "cls", "max", "residues")
    layers = [LAYERS[i % len(LAYERS)] for i in range(len(MIXED))]
    mean, cls, largest, residues = ask("esm2_embed", MIXED, *outputs, layer=layers)
    found = zip(MIXED, layers, mean, cls, largest, rows(residues, MIXED), strict=True)
    for sequence, layer, *arrays in found:
        for array, expected in zip(arrays, reference.layer(sequence, layer).values(), strict=True):
            np.testing.assert_allclose(array, expected, **TOLERANCE)
    (alone,) = ask("esm2_embed", MIXED[:1], "mean", layer=[1])
    np.testing.assert_allclose(alone, reference.layer(MIXED[0], 1)["mean"], **TOLERANCE)
    (default,) = ask("esm2_embed", MIXED[:1], "mean")
    np.testing.assert_allclose(default, reference.layer(MIXED[0], -1)["mean"], **TOLERANCE)


@pytest.mark.parametrize("company", [False, True])
def test_contacts(ask, reference, company):
    if company:
        maps = list(rows(ask("esm2_contacts", MIXED, "contacts"), MIXED))
        maps = [one[:, : len(one)] for one in maps]
    else:
        maps = [ask("esm2_contacts", [sequence], "contacts")[0] for sequence in MIXED]
    for sequence, found in zip(MIXED, maps, strict=True):
        assert found.shape == (len(sequence),) * 2
        np.testing.assert_allclose(found, reference.contacts(sequence), **TOLERANCE)


@pytest.mark.parametrize("method", [None, "wildtype", "masked"])
def test_scans(ask, reference, method):
    sequences = [*MIXED[:5], "M"]
    scans = ask("esm2_mutation_effect", sequences, "scan", method=method)
    for sequence, scan in zip(sequences, rows(scans, sequences), strict=True):
        np.testing.assert_allclose(
            scan, reference.scan(sequence, method or "wildtype"), **TOLERANCE
        )
        own = [AMINO_ACIDS.index(letter) for letter in sequence]
        assert not scan[range(len(sequence)), own].any()
        assert len(sequence) == 1 or np.abs(scan).max() > 0.1


@pytest.mark.parametrize("method", ["wildtype", "masked"])
def test_scores_of_variants_of_several_sites(ask, reference, method):
    sequences = MIXED[:4]
    asked = [variants(s, i, count=2 * i) for i, s in enumerate(sequences)]
    scores = ask(
        "esm2_mutation_effect", sequences, "score", method=method,
        mutants=[",".join(some) for some in asked],
    )  # fmt: skip
    assert scores.shape == (4, max(map(len, asked)))
    for sequence, some, row in zip(sequences, asked, scores, strict=True):
        expected = [reference.score(sequence, variant, method) for variant in some]
        np.testing.assert_allclose(row[: len(some)], expected, **TOLERANCE)
        assert np.isnan(row[len(some) :]).all()


def test_the_methods_differ_and_sites_are_masked_together(ask):
    """The formulas that a mistake would give are far from the right one."""
    sequence, pair = MIXED[0], variants(MIXED[0], 7)[2]
    both = [
        ask("esm2_mutation_effect", [sequence], "score", method=method, mutants=[text])[0]
        for method in ("wildtype", "masked")
        for text in (pair, pair.replace(":", ","))
    ]
    (plain,), plain_apart, (masked,), masked_apart = both
    assert plain == pytest.approx(plain_apart.sum(), abs=1e-5)
    assert abs(masked - plain) > 0.01
    assert abs(masked - masked_apart.sum()) > 0.001


def test_scan_and_score_of_one_request(ask, reference):
    sequence = MIXED[0]
    some = variants(sequence, 3)
    scan, scores = ask(
        "esm2_mutation_effect", [sequence], "scan", "score", method="masked",
        mutants=[" , ".join(some).lower()],
    )  # fmt: skip
    np.testing.assert_allclose(scan[0], reference.scan(sequence, "masked"), **TOLERANCE)
    expected = [reference.score(sequence, variant, "masked") for variant in some]
    np.testing.assert_allclose(scores[0], expected, **TOLERANCE)
    assert ask("esm2_mutation_effect", [sequence], "score").shape == (1, 0)


def test_200_mixed_requests_from_16_clients_are_all_exact(server, reference):
    pool = proteins(12, 5)
    logits = {s: reference.logits(s) for s in pool}
    masked = {s: with_masks(s, 1) for s in pool}
    masked_logits = {s: reference.logits(text) for s, text in masked.items()}
    contacts = {s: reference.contacts(s) for s in pool}
    layers = {(s, n): reference.layer(s, n)["mean"] for s in pool for n in range(3)}
    scans = {(s, m): reference.scan(s, m) for s in pool[:4] for m in ("wildtype", "masked")}
    text = {s: variants(s, 2) for s in pool[:4]}
    scores = {
        (s, m): [reference.score(s, v, m) for v in text[s]]
        for s in pool[:4]
        for m in ("wildtype", "masked")
    }

    def one(index):
        ask = Asking(server.url)
        rng = np.random.default_rng(index)
        some = [str(s) for s in rng.choice(pool, 1 + index % 6)]
        kind, method = index % 6, ("wildtype", "masked")[index // 6 % 2]
        if kind == 0:
            found, expected = ask("esm2_logits", some, "logits"), [logits[s] for s in some]
        elif kind == 1:
            found = ask("esm2_logits", [masked[s] for s in some], "logits")
            expected = [masked_logits[s] for s in some]
        elif kind == 2:
            found = ask("esm2_contacts", some, "contacts")
            expected = [contacts[s] for s in some]
        elif kind == 3:
            chosen = rng.integers(3, size=len(some))
            found = ask("esm2_embed", some, "mean", layer=chosen)
            expected = [layers[s, n] for s, n in zip(some, chosen, strict=True)]
        else:
            some = [s for s in some if s in text] or pool[:1]
            name, table = (("scan", scans), ("score", scores))[kind - 4]
            mutants = [",".join(text[s]) for s in some]
            found = ask("esm2_mutation_effect", some, name, method=method, mutants=mutants)
            expected = [table[s, method] for s in some]
        for array, right in zip(found, expected, strict=True):
            part = array[tuple(map(slice, np.shape(right)))]
            np.testing.assert_allclose(part, right, **TOLERANCE)
        return kind

    with ThreadPoolExecutor(16) as threads:
        kinds = list(threads.map(one, np.random.default_rng(0).permutation(200).tolist()))
    assert len(kinds) == 200
    assert set(kinds) == set(range(6))
