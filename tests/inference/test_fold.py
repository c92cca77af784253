"""What folds equals transformers, alone and padded among others; what cannot fold says so."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import EsmForProteinFolding
from transformers.models.esm.openfold_utils import residue_constants

from bionemo_ext.errors import CheckpointError, RunError, SequenceError
from bionemo_ext.inference.fold import FoldingModel, clean_protein, passes
from bionemo_ext.sequences import read_fasta

PROTEINS = (
    "MKTVRQERLKSIVRILERSKEPVSGAQLAEELSVSRQVIVQDIAYLRSLG",
    "ACDEFGHIKLMNPQRSTVWY",
    "XMKTXXVRB",
    "G",
    "WZUOX",
)


def reference(folder):
    return EsmForProteinFolding.from_pretrained(folder).float().eval()


@pytest.fixture(scope="module")
def model(tiny_fold_folder):
    return FoldingModel.load(tiny_fold_folder)


def fold(model, sequences, **options):
    """Structures in the order of ``sequences``."""
    outcomes = dict(model.fold(sequences, **options))
    assert sorted(outcomes) == list(range(len(sequences)))
    return [outcomes[index] for index in range(len(sequences))]


def read_pdb(text):
    """(number, residue, atom) -> coordinates and B-factor, by the columns of the PDB format."""
    atoms = {}
    for line in text.splitlines():
        if line.startswith("ATOM"):
            assert (line[21], line[54:60]) == ("A", "  1.00")
            key = (int(line[22:26]), line[17:20], line[12:16].strip())
            assert key not in atoms
            position = [float(line[start : start + 8]) for start in (30, 38, 46)]
            atoms[key] = (np.array(position), float(line[60:66]))
    return atoms


@pytest.mark.parametrize("sequence", PROTEINS)
def test_one_protein_equals_transformers(model, tiny_fold_folder, sequence):
    theirs = reference(tiny_fold_folder)
    output = theirs.infer(sequence)
    (found,) = fold(model, [sequence])
    plddt = 100 * output["plddt"]
    assert found.pdb == theirs.output_to_pdb({**output, "plddt": plddt})[0]
    np.testing.assert_allclose(found.plddt, plddt[0, :, 1], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.pae, output["predicted_aligned_error"][0], rtol=0, atol=1e-4)
    assert found.ptm == pytest.approx(float(output["ptm"]), abs=1e-5)
    assert found.plddt.shape == (len(sequence),)
    assert found.pae.shape == (len(sequence), len(sequence))


def test_confidences_differ_enough_to_show_an_error(model):
    (found,) = fold(model, PROTEINS[:1])
    assert np.ptp(found.plddt) > 5
    assert np.ptp(found.pae) > 5
    assert 0 <= found.plddt.min() <= found.plddt.max() <= 100


@pytest.mark.parametrize("sequence", PROTEINS[:2])
def test_the_pdb_has_the_sequence_and_the_positions(model, tiny_fold_folder, sequence):
    positions = reference(tiny_fold_folder).infer(sequence)["positions"][-1, 0]  # [L, 14, 3]
    (found,) = fold(model, [sequence])
    atoms = read_pdb(found.pdb)
    for number, letter in enumerate(sequence, start=1):
        name = residue_constants.restype_1to3[letter]
        have = {atom for at, residue, atom in atoms if (at, residue) == (number, name)}
        assert have == set(residue_constants.residue_atoms[name])
        position, b_factor = atoms[number, name, "CA"]
        np.testing.assert_allclose(position, positions[number - 1, 1], rtol=0, atol=6e-4)
        assert b_factor == pytest.approx(found.plddt[number - 1], abs=6e-3)
    assert {at for at, _, _ in atoms} == set(range(1, len(sequence) + 1))
    assert found.pdb.splitlines()[-1] == "END"


def test_unknown_residues_keep_their_number_and_have_no_atoms(model):
    (found,) = fold(model, ["XMKTXXVRB"])
    numbers = {(at, residue) for at, residue, _ in read_pdb(found.pdb)}
    names = ["MET", "LYS", "THR", "VAL", "ARG"]
    assert sorted(numbers) == list(zip((2, 3, 4, 7, 8), names, strict=True))


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_padded_batches_equal_each_protein_alone(tiny_fold_folder, shared_data, chunk_size):
    model = FoldingModel.load(tiny_fold_folder, chunk_size=chunk_size)
    records = read_fasta(shared_data / "uniprot" / "uniprot_20k.fasta.gz")
    lengths = (40, 41, 38, 44, 12, 11, 40, 90)
    sequences = [record.sequence[:n] for n, record in zip(lengths, records, strict=False)]
    sequences += ["X" * 38 + "M", "MKTX" * 10]
    lengths = [len(sequence) for sequence in sequences]
    assert sorted(map(len, passes(lengths, 160))) == [1, 2, 3, 4]
    together = fold(model, sequences, max_tokens=160)
    for sequence, found in zip(sequences, together, strict=True):
        (alone,) = fold(FoldingModel.load(tiny_fold_folder), [sequence])
        np.testing.assert_allclose(found.plddt, alone.plddt, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.pae, alone.pae, rtol=0, atol=1e-4)
        assert found.ptm == pytest.approx(alone.ptm, abs=1e-5)
        ours, theirs = read_pdb(found.pdb), read_pdb(alone.pdb)
        assert ours.keys() == theirs.keys()
        assert found.pdb.splitlines()[-2] == alone.pdb.splitlines()[-2]  # the chain's end
        for key, (position, b_factor) in ours.items():
            np.testing.assert_allclose(position, theirs[key][0], rtol=0, atol=1.1e-3)
            assert b_factor == pytest.approx(theirs[key][1], abs=1.1e-2)


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(1, 200))
def test_passes_hold_their_limits(lengths, max_tokens):
    batches = list(passes(lengths, max_tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        found = [lengths[i] for i in batch]
        assert len(batch) == 1 or len(batch) * max(found) <= max_tokens
        assert max(found) <= 1.1 * min(found)
    assert len(list(passes([30] * 5, 150))) == 1


@pytest.mark.parametrize("kind", ["half", "torch", "sharded"])
def test_every_form_of_the_folder_folds_as_transformers_does(
    random_esmfold, tiny_fold_folder, tmp_path, kind
):
    folder = tmp_path / "model"
    if kind == "half":  # as published: the language model is stored in float16
        random_esmfold(folder, fp16_esm=True)
    else:
        options = (
            {"max_shard_size": "100KB"} if kind == "sharded" else {"safe_serialization": False}
        )
        reference(tiny_fold_folder).save_pretrained(folder, **options)
        assert not (folder / "model.safetensors").exists()
    theirs = reference(folder).infer(PROTEINS[0])
    (found,) = fold(FoldingModel.load(folder), PROTEINS[:1])
    np.testing.assert_allclose(found.plddt, 100 * theirs["plddt"][0, :, 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("dtype", "apart"), [("bfloat16", 0.5), ("float16", 0.05)])
def test_a_language_model_in_half_precision_is_close(tiny_fold_folder, dtype, apart):
    """In the middle: recycling counts distances in bins, and a residue at a bin's edge jumps."""
    (exact,) = fold(FoldingModel.load(tiny_fold_folder), PROTEINS[:1])
    model = FoldingModel.load(tiny_fold_folder, dtype)
    (found,) = fold(model, PROTEINS[:1])
    assert 0 < np.median(np.abs(found.plddt - exact.plddt)) < apart
    # In half precision the rotary angles of far residues would be wrong by radians.
    inner = dict(model._model.esm.named_buffers())
    assert {t.dtype for name, t in inner.items() if "inv_freq" in name} == {torch.float32}


def test_letters():
    assert clean_protein("mktv xbzuo*", "p", 20) == "MKTVXBZUO"
    for sequence, sentence in (
        ("MK-V", "record 'p' has '-' at position 3, which is no residue; take the gaps out"),
        ("MK.V", "record 'p' has '.' at position 3"),
        ("MKJV", "record 'p' has 'J' at position 3"),
        ("MK:V", "record 'p' has ':' at position 3"),
        ("", "record 'p' has no residues"),
        ("XBZUO", "record 'p' has no residue of a known kind; nothing to fold"),
        ("M" * 21, "record 'p' has 21 residues, the limit is 20"),
    ):
        with pytest.raises(SequenceError, match=sentence.replace(".", r"\.")):
            clean_protein(sequence, "p", 20)


def without(name):
    def change(folder):
        state = load_file(folder / "model.safetensors")
        del state[name]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def reshaped(folder):
    state = load_file(folder / "model.safetensors")
    state["esm_s_combine"] = torch.zeros(7)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def config(**changes):
    def change(folder):
        raw = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**raw, **changes}))

    return change


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "there is no folder "),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (config(model_type="bert"), "does not describe an ESMFold model"),
        (config(esmfold_config={"trunk": {"nonsense": 1}}), "does not describe an ESMFold model"),
        (config(is_folding_model=False), "holds an ESM encoder without a folding trunk"),
        (without("trunk.trunk2sm_s.weight"), "lacks 1 tensors, first trunk.trunk2sm_s.weight"),
        (reshaped, r"esm_s_combine in .* has shape \(7,\), config.json asks for \(3,\)"),
        (cut, "model.safetensors is damaged or cut short"),
    ],
)
def test_a_folder_that_is_no_esmfold_is_refused(tiny_fold_folder, tmp_path, damage, sentence):
    shutil.copytree(tiny_fold_folder, tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(CheckpointError, match=sentence):
        FoldingModel.load(tmp_path / "model")


def test_an_encoder_is_refused(tiny_hf_folder):
    with pytest.raises(CheckpointError, match="without a folding trunk"):
        FoldingModel.load(tiny_hf_folder)


def test_numbers_out_of_range_are_no_structure(tiny_fold_folder, tmp_path):
    shutil.copytree(tiny_fold_folder, tmp_path / "model")
    state = load_file(tmp_path / "model" / "model.safetensors")
    state["trunk.structure_module.linear_in.weight"].fill_(torch.inf)
    save_file(state, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    (found,) = fold(FoldingModel.load(tmp_path / "model"), ["MKTV"])
    assert isinstance(found, RunError)
    assert str(found) == "4 residues left the range of the numbers"


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from bionemo_ext.inference.fold import FoldingModel
model = FoldingModel.load(sys.argv[1])
list(model.fold(["MKTV"]))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for index, outcome in model.fold(["MKTV", "A" * 900, "C" * 900, "MKTVR"], max_tokens=2000):
    print(index, getattr(outcome, "pdb", "")[:6], outcome if not hasattr(outcome, "pdb") else "")
"""


def test_a_lack_of_memory_spoils_no_other_protein(tiny_fold_folder):
    """In a process of little memory, for real."""
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, str(tiny_fold_folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lack = "900 residues need more memory than the machine has"
    assert done.stdout.split("\n") == ["0 PARENT ", "3 PARENT ", f"1  {lack}", f"2  {lack}", ""]
