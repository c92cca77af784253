"""Structures by ESMFold (Lin et al., Science 379, 1123, 2023), as transformers implements it.

What is computed is transformers' own; here are its strict loading, passes of like lengths, and
what transformers leaves to its users: confidences of 0 to 100 as the authors publish them, a pTM
and a PDB text of each protein of a padded batch, and words for a lack of memory.

Shapes: B proteins of a pass, S residues of the longest, L residues of one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import EsmForProteinFolding
from transformers.models.esm.openfold_utils import compute_tm

from bionemo_ext.errors import RunError, SequenceError
from bionemo_ext.inference.fold_folder import check_folder
from bionemo_ext.sequences import clean_sequence

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FoldDtype = Literal["float32", "bfloat16", "float16"]

# Of a pass, padding included: the authors' default of --max-tokens-per-batch.
MAX_TOKENS = 1024
# The work grows with the cube of the length, so that little padding costs much.
_MOST_PADDING = 0.1
# Where the alpha carbon stands among the 37 atom names of a residue.
_CA = 1
# Letters of residues without atoms; of these alone, transformers fails to write a PDB text.
_UNKNOWN = frozenset("XBZUO")
# What output_to_pdb reads, beside positions and plddt.
_ATOMS = ("aatype", "residue_index", "atom37_atom_exists", "residx_atom37_to_atom14")


@dataclass(frozen=True)
class Structure:
    """A predicted structure and how far it can be trusted.

    Parameters
    ----------
    pdb : str
        PDB text of chain A; the B-factor of an atom is its own pLDDT. A residue of an unknown kind
        has no atoms there, and keeps its number.
    plddt : array of float32
        [L], pLDDT of each alpha carbon, 0 to 100.
    pae : array of float32
        [L, L], predicted aligned error in angstrom.
    ptm : float
        Predicted TM-score, 0 to 1.
    """

    pdb: str
    plddt: NDArray[np.float32]
    pae: NDArray[np.float32]
    ptm: float


class FoldingModel:
    """ESMFold ready to fold.

    Parameters
    ----------
    model : EsmForProteinFolding
        Its trunk in fp32; its language model in any precision.
    chunk_size : int, optional
        Rows of the pair representation that the trunk's attention takes at once. Fewer need less
        memory and more time, and give the same structure.
    """

    def __init__(self, model: EsmForProteinFolding, chunk_size: int | None = None) -> None:
        self._model = model.eval()
        self._model.trunk.set_chunk_size(chunk_size)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        dtype: FoldDtype = "float32",
        device: str = "cpu",
        chunk_size: int | None = None,
    ) -> "FoldingModel":
        """Read a Hugging Face folder such as that of ``facebook/esmfold_v1``.

        Parameters
        ----------
        folder : str or Path
            With ``config.json`` and weights.
        dtype : {"float32", "bfloat16", "float16"}
            Precision of the language model; the authors run it in float16. The trunk computes in
            float32 always, as they publish it: its pair updates overflow float16
            (huggingface/transformers issue 47470).
        device : str
            Where to run.
        chunk_size : int, optional
            See the class.

        Raises
        ------
        CheckpointError
            If a file is missing, damaged or of another kind of model, or a tensor is missing.
        """
        check_folder(Path(folder))
        model = EsmForProteinFolding.from_pretrained(folder, local_files_only=True).float()
        # Parameters alone: at residue 1,000 rotary angles are wrong by up to 0.4 radians in float16
        # and 3.6 in bfloat16, and transformers casts what comes of them itself.
        for parameter in model.esm.parameters():
            parameter.data = parameter.data.to(DTYPES[dtype])
        return cls(model.to(device), chunk_size)

    def fold(
        self, sequences: Sequence[str], max_tokens: int = MAX_TOKENS
    ) -> Iterator[tuple[int, Structure | RunError]]:
        """Fold any number of clean sequences, a batch of like lengths at a time, shortest first.

        Parameters
        ----------
        sequences : sequence of str
            As :func:`clean_protein` gives them.
        max_tokens : int
            Residues of a batch, its padding included; a longer protein is a batch of its own.

        Yields
        ------
        index, outcome : int, Structure or RunError
            Which of ``sequences``, and what :meth:`fold_batch` gives for it.
        """
        for indices in passes([len(sequence) for sequence in sequences], max_tokens):
            outcomes = self.fold_batch([sequences[index] for index in indices])
            yield from zip(indices, outcomes, strict=True)

    def fold_batch(self, sequences: Sequence[str]) -> list[Structure | RunError]:
        """Fold clean sequences in one pass, padded to the longest; one by one if memory is short.

        Returns
        -------
        list of Structure or RunError
            In their order: the structure, or a sentence that says why there is none: the protein
            needs more memory than there is, or its numbers left their range.
        """
        try:
            return self._pass(sequences)
        except (RuntimeError, MemoryError) as error:
            if not _is_lack_of_memory(error):
                raise
        # Here the error is gone, and with it the tensors that its frames held.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(sequences) > 1:
            return [outcome for sequence in sequences for outcome in self.fold_batch([sequence])]
        return [RunError(f"{len(sequences[0]):,} residues need more memory than the machine has")]

    @torch.inference_mode()
    def _pass(self, sequences: Sequence[str]) -> list[Structure | RunError]:
        output = self._model.infer(list(sequences))
        found: list[Structure | RunError] = []
        for row, sequence in enumerate(sequences):
            length = len(sequence)
            positions = output["positions"][-1:, row : row + 1, :length]
            if torch.isfinite(positions).all():
                found.append(self._structure(output, positions, row, length))
            else:
                found.append(RunError(f"{length:,} residues left the range of the numbers"))
        return found

    def _structure(
        self, output: dict[str, Tensor], positions: Tensor, row: int, length: int
    ) -> Structure:
        """Take one protein out of a padded batch; ``positions`` [1, 1, L, 14, 3] are its own."""
        here = slice(row, row + 1)
        plddt = 100 * output["plddt"][here, :length]
        protein = {name: output[name][here, :length] for name in _ATOMS}
        (pdb,) = self._model.output_to_pdb({**protein, "positions": positions, "plddt": plddt})
        # transformers' own `ptm` is one number for the whole batch, its padding included.
        ptm = compute_tm(output["ptm_logits"][here, :length, :length])
        return Structure(
            pdb,
            plddt[0, :, _CA].cpu().numpy(),
            output["predicted_aligned_error"][row, :length, :length].cpu().numpy(),
            float(ptm),
        )


def clean_protein(sequence: str, name: str, max_residues: int) -> str:
    """Bring a sequence into the letters that ESMFold folds.

    The 20 amino acids, and ``X``, ``B``, ``Z``, ``U`` and ``O``, which ESMFold takes for a residue
    of an unknown kind: it counts in the chain and has a confidence, but no atoms.

    Raises
    ------
    SequenceError
        As :func:`bionemo_ext.sequences.clean_sequence`; also if there is a gap, no residue of a
        known kind, or more than ``max_residues`` residues.
    """
    cleaned = clean_sequence(sequence, name, limit=max_residues)
    for position, letter in enumerate(cleaned, start=1):
        if not letter.isalpha():
            raise SequenceError(
                f"record {name!r} has {letter!r} at position {position}, which is no residue; "
                "take the gaps out to fold it"
            )
    if set(cleaned) <= _UNKNOWN:
        raise SequenceError(f"record {name!r} has no residue of a known kind; nothing to fold")
    return cleaned


def passes(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Cut proteins into batches of like lengths, shortest first.

    Yields
    ------
    list of int
        Indices into ``lengths``. Padded to its longest, a batch has at most ``max_tokens``
        residues, and no protein in it grows by more than a tenth.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = lengths[index]
        if batch and (
            (len(batch) + 1) * longest > max_tokens
            or longest > (1 + _MOST_PADDING) * lengths[batch[0]]
        ):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _is_lack_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether CUDA, PyTorch's allocator on a CPU, Python or numpy found no memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "DefaultCPUAllocator" in str(error)
