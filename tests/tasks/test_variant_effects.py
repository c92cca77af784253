"""Variant effects against a brute-force computation with transformers, a pass a question."""

import random

import numpy as np
import pytest
import torch

from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.contract.effects import Method
from bionemo_ext.contract.variants import Substitution, apply, parse_variants
from bionemo_ext.errors import InputError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.masked_model import EncoderLogits
from bionemo_ext.tasks.variant_effects import (
    likelihood,
    scan,
    score_variants,
    stream_scans,
    stream_scores,
)

TOLERANCE = {"rtol": 0, "atol": 1e-4}
LIMIT = 1022
# Between the first four tokens and the last two every token is a letter.
VOCABULARY = [
    *("<cls>", "<pad>", "<eos>", "<unk>"), *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"
]  # fmt: skip


class Reference:
    """One pass of transformers a question; windows by their definition."""

    def __init__(self, folder, limit):
        from transformers import EsmForMaskedLM

        self.model = EsmForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
        self.limit = limit

    @torch.inference_mode()
    def log_p(self, sequence, masks=()):
        """Log probabilities at each residue, [L, 33]."""
        letters = list(sequence)
        for place in masks:
            letters[place] = "<mask>"
        ids = torch.tensor([[VOCABULARY.index(x) for x in ["<cls>", *letters, "<eos>"]]])
        seen = self.model(ids, torch.ones_like(ids)).logits[0, 1:-1]
        return seen.log_softmax(-1).double().numpy()

    def column(self, letter):
        return VOCABULARY.index(letter)

    def window(self, sequence, sites):
        if len(sequence) <= self.limit:
            return 0, len(sequence)
        middle = (min(sites) + max(sites) + 1) // 2
        start = min(max(0, middle - self.limit // 2), len(sequence) - self.limit)
        return start, start + self.limit

    def marginal(self, sequence, wild, variant, masked):
        sites = [one.site for one in variant]
        start, end = self.window(sequence, sites)
        seen = self.log_p(sequence[start:end], [s - start for s in sites] if masked else ())
        return sum(
            seen[one.site - start, self.column(one.mutant)]
            - seen[one.site - start, self.column(wild[one.site])]
            for one in variant
        )

    def likelihood(self, sequence):
        total = 0.0
        for site, letter in enumerate(sequence):
            start, end = self.window(sequence, [site])
            seen = self.log_p(sequence[start:end], [site - start])
            total += seen[site - start, self.column(letter)]
        return total


@pytest.fixture(scope="module")
def folder(tmp_path_factory, random_esm2):
    """Of one layer: a thousand passes of a thousand residues are waited for."""
    place = tmp_path_factory.mktemp("encoder") / "model"
    random_esm2(place, layers=1, hidden=32, heads=2)
    return place


@pytest.fixture(scope="module")
def reference(folder):
    return Reference(folder, LIMIT)


@pytest.fixture(scope="module")
def model(folder):
    return EncoderLogits(Encoder.load(folder))


def protein(length, seed=0):
    return "".join(random.Random(seed).choices(AMINO_ACIDS, k=length))


def change(wild, *sites):
    """A variant with another residue at each site, from 0."""
    draw = random.Random(str(sites))
    return tuple(
        Substitution(site, draw.choice([a for a in AMINO_ACIDS if a != wild[site]]))
        for site in sites
    )


@pytest.mark.parametrize("length", [40, 1500])
@pytest.mark.parametrize("method", [Method.MASKED, Method.MUTANT])
def test_marginals(model, reference, length, method):
    wild = protein(length)
    last = length - 1
    variants = [change(wild, *sites) for sites in [(0,), (last,), (3, 17), (last - 9, last), (11,)]]
    variants.append(variants[2])  # a variant may come twice
    found = score_variants(model, wild, variants, method)
    expected = [
        reference.marginal(wild, wild, one, masked=True)
        if method is Method.MASKED
        else reference.marginal(apply(wild, one), wild, one, masked=False)
        for one in variants
    ]
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_wild_type_marginals(model, reference):
    wild = protein(60)
    variants = [change(wild, *sites) for sites in [(0,), (59,), (3, 17, 40)]]
    expected = [reference.marginal(wild, wild, one, masked=False) for one in variants]
    found = score_variants(model, wild, variants, Method.WILDTYPE)
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_windows_of_a_pass_without_masks(model, reference):
    """Windows are [0, 1022), [478, 1500): a site belongs to the one whose inner end is further."""
    wild = protein(1500)
    effects = scan(model, wild)
    for site, (start, end) in {
        0: (0, 1022), 749: (0, 1022), 750: (478, 1500), 1499: (478, 1500)
    }.items():  # fmt: skip
        seen = reference.log_p(wild[start:end])[site - start]
        expected = [seen[reference.column(a)] - seen[reference.column(wild[site])]
                    for a in AMINO_ACIDS]  # fmt: skip
        np.testing.assert_allclose(effects[site], expected, **TOLERANCE)


def test_wild_type_marginals_of_a_long_protein(model, reference):
    """Sites of one variant may be in different windows."""
    wild = protein(1500)
    seen = {start: reference.log_p(wild[start : start + LIMIT]) for start in (0, 478)}

    def effect(one):
        start = 0 if one.site < 750 else 478
        row = seen[start][one.site - start]
        return row[reference.column(one.mutant)] - row[reference.column(wild[one.site])]

    variants = [change(wild, *sites) for sites in [(0,), (1499,), (0, 1499), (749, 750), (3, 900)]]
    found = score_variants(model, wild, variants, Method.WILDTYPE)
    np.testing.assert_allclose(found, [sum(map(effect, one)) for one in variants], **TOLERANCE)


@pytest.mark.parametrize("method", [Method.WILDTYPE, Method.MASKED])
def test_a_scan_is_every_single_substitution(model, reference, method):
    wild = protein(25)
    found = scan(model, wild, method)
    assert found.shape == (25, 20)
    for site in (0, 12, 24):
        for column, letter in enumerate(AMINO_ACIDS):
            variant = (Substitution(site, letter),)
            expected = reference.marginal(wild, wild, variant, masked=method is Method.MASKED)
            assert found[site, column] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", [Method.WILDTYPE, Method.MASKED])
def test_scans_of_several_proteins(model, method):
    proteins, done = [protein(25), protein(10, seed=1), protein(25)], []
    found = list(stream_scans(model, iter(proteins), method, done.append))
    assert sum(done) == 60
    for one, effects in zip(proteins, found, strict=True):
        np.testing.assert_allclose(effects, scan(model, one, method), rtol=0, atol=1e-5)


def test_a_masked_scan_of_a_long_protein(folder):
    model = EncoderLogits(Encoder.load(folder))
    model.max_residues = 16
    wild = protein(40)
    found = scan(model, wild, Method.MASKED)
    variants = [change(wild, site) for site in range(40)]
    expected = [Reference(folder, 16).marginal(wild, wild, one, masked=True) for one in variants]
    scores = [found[one.site, AMINO_ACIDS.index(one.mutant)] for (one,) in variants]
    np.testing.assert_allclose(scores, expected, **TOLERANCE)


def test_a_scan_by_wild_type_marginals_is_one_pass(model, monkeypatch):
    passes = []
    hidden_states = model.encoder.hidden_states
    monkeypatch.setattr(
        model.encoder, "hidden_states", lambda *a: passes.append(a) or hidden_states(*a)
    )
    scan(model, protein(300))
    assert len(passes) == 1


def test_pseudo_log_likelihood(model, reference):
    wild = protein(30)
    deleted, inserted = wild[:10] + wild[12:], wild[:5] + "WW" + wild[5:]
    substituted = change(wild, 0, 29)
    texts = [apply(wild, substituted), deleted, inserted]
    found = score_variants(model, wild, [substituted, deleted, inserted], Method.PLL)
    own = reference.likelihood(wild)
    expected = [reference.likelihood(texts[0]) - own]
    expected += [reference.likelihood(text) / len(text) - own / 30 for text in texts[1:]]
    np.testing.assert_allclose(found, expected, **TOLERANCE)


@pytest.mark.parametrize("method", Method)
def test_variants_of_several_proteins_as_they_come(model, method):
    """Of one that comes again too, and of some without a change."""
    wild, other = protein(30), protein(20, seed=1)
    pairs = [
        (wild, change(wild, 3)), (wild, change(wild, 3, 4)), (other, change(other, 0)),
        (other, ()), (wild, ()), (wild, change(wild, 3)), (other, other), (wild, wild),
    ]  # fmt: skip
    found = list(stream_scores(model, iter(pairs), method))
    alone = [score_variants(model, one, [variant], method)[0] for one, variant in pairs]
    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5)


def test_what_variants_have_in_common_is_computed_once(model, monkeypatch):
    asked = []
    masked_logits = model.masked_logits

    def counted(sequences):
        return masked_logits(asked.append(one) or one for one in sequences)

    monkeypatch.setattr(model, "masked_logits", counted)
    wild = protein(30)
    every = [(Substitution(site, letter),) for site in (3, 4) for letter in AMINO_ACIDS]
    list(stream_scores(model, ((wild, one) for one in every), Method.MASKED))
    assert len(asked) == 2
    asked.clear()
    list(stream_scores(model, ((wild, change(wild, site)) for site in (3, 4)), Method.PLL))
    assert len(asked) == 3 * 30  # the wild type once


def test_pseudo_log_likelihood_of_a_long_protein(folder):
    """With windows of 16 residues, so that every residue has one of its own."""
    model = EncoderLogits(Encoder.load(folder))
    model.max_residues = 16
    wild = protein(50)
    (found,) = likelihood(model, [wild])
    assert found == pytest.approx(Reference(folder, 16).likelihood(wild), abs=1e-4)


@pytest.mark.slow
def test_pseudo_log_likelihood_over_the_limit(model, reference):
    wild = protein(LIMIT + 8)
    (found,) = likelihood(model, [wild])
    assert found == pytest.approx(reference.likelihood(wild), abs=1e-4)


def test_what_a_method_cannot_score(model):
    wild = protein(1500)
    with pytest.raises(InputError, match=r"insertions or deletions .* pll can"):
        score_variants(model, wild, [wild[:-1]], Method.MASKED)
    with pytest.raises(
        InputError, match="first to its last site are 1,500 residues, and the model sees 1,022"
    ):
        score_variants(model, wild, [change(wild, 0, 1499)], Method.MASKED)
    with pytest.raises(InputError, match="not by pll"):
        scan(model, "MKT", Method.PLL)


def test_no_change_has_no_effect(model):
    wild = protein(20)
    variants = [(), wild, *parse_variants(f"{wild[4]}5{wild[4]}", wild, "x")]
    for method in Method:
        np.testing.assert_allclose(
            score_variants(model, wild, variants, method), 0, atol=1e-6, err_msg=method
        )
