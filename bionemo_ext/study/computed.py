"""Targets that follow from the sequence, as the study's PISCES part has them, by Biopython."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.sequences.csv_table import LeftOut
from bionemo_ext.study.datasets import Dataset

if TYPE_CHECKING:
    from Bio.SeqUtils.ProtParam import ProteinAnalysis

_PH = 7.0
TARGETS: "Mapping[str, Callable[[ProteinAnalysis], float]]" = {
    "charge": lambda protein: protein.charge_at_pH(_PH),  # elementary charges
    "hydrophobicity": lambda protein: protein.gravy(),  # Kyte and Doolittle's mean
    "instability": lambda protein: protein.instability_index(),  # Guruprasad et al., 1990
    "isoelectric_point": lambda protein: protein.isoelectric_point(),  # pH
    "molecular_weight": lambda protein: protein.molecular_weight(),  # daltons
}


def computed_datasets(path: Path, max_residues: int) -> list[Dataset]:
    """Make a data set a target from the proteins of a FASTA file.

    Parameters
    ----------
    path : Path
        FASTA. Proteins that are too long, or have a residue that is none of the 20 amino acids,
        whose weight and charge are not known, are left out and told of.
    max_residues : int
        What the encoders take.

    Returns
    -------
    list of Dataset
        :data:`TARGETS` and the share of each amino acid, ``<file>-charge`` to
        ``<file>-share_of_Y``, all of the same proteins. What is the same in every protein is not
        among them.

    Raises
    ------
    FastaError, SequenceError
        If the file cannot be read.
    """
    from Bio.SeqUtils.ProtParam import ProteinAnalysis

    from bionemo_ext.sequences import read_fasta

    sequences, left_out = [], []
    for number, record in enumerate(read_fasta(path), start=1):
        where = f"{path}: record {record.name!r}"
        strange = sorted(set(record.sequence) - set(AMINO_ACIDS))
        if strange:
            told = f"{where} has {strange[0]!r}, which is not one of the 20 amino acids"
            left_out.append(LeftOut(number, told, "no amino acid"))
        elif len(record.sequence) > max_residues:
            told = (
                f"{where} has {len(record.sequence):,} residues, the models take {max_residues:,}"
            )
            left_out.append(LeftOut(number, told, "too long"))
        else:
            sequences.append(record.sequence)
    proteins = [ProteinAnalysis(sequence) for sequence in sequences]
    values = {name: [of(protein) for protein in proteins] for name, of in TARGETS.items()}
    values |= {f"share_of_{letter}": _share(sequences, letter) for letter in AMINO_ACIDS}
    stem = path.name.partition(".")[0]
    return [
        Dataset(f"{stem}-{name}", tuple(sequences), np.array(column), tuple(left_out))
        for name, column in values.items()
        if len(set(column)) > 1
    ]


def _share(sequences: Sequence[str], letter: str) -> list[float]:
    return [sequence.count(letter) / len(sequence) for sequence in sequences]
