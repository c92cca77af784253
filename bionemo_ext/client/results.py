"""What the client hands back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import PAE, PDB, PLDDT, PTM, Kind, TaskInfo


class TruncationWarning(UserWarning):
    """Some sequences were longer than the model's limit and only their beginning was used."""


@dataclass(frozen=True)
class Result:
    """The server's answer for one record.

    Parameters
    ----------
    name : str
        The record's name, or its position (from 1) where it came as a plain string.
    sequence : str
        The residues that were used: cleaned, and cut where the record was truncated.
    length : int
        Residues of the record before truncation.
    windows : int
        Windows it was embedded in; 1 for a record within the limit.
    values : mapping of str to NDArray
        One array an output: FP32 [H] or [C], or one row a residue, or [L, L]; of a structure's
        text one str [1].
    """

    name: str
    sequence: str
    length: int
    windows: int
    values: Mapping[str, NDArray[Any]]

    @property
    def truncated(self) -> bool:
        """Whether the end of the record was left out."""
        return len(self.sequence) < self.length


@dataclass(frozen=True)
class Prediction:
    """A task's prediction for one record.

    Parameters
    ----------
    name : str
        The record's name, or its position (from 1) where it came as a plain string.
    sequence : str
        The residues that were used.
    task : TaskInfo
        What was predicted.
    values : NDArray
        FP32 probabilities [C] or [L, C] of classes or labels; [1] or [L, 1] of a regression.
    """

    name: str
    sequence: str
    task: TaskInfo
    values: NDArray[np.float32]

    @property
    def labels(self) -> list[str]:
        """What is predicted: one text for the protein, or one a residue.

        The likeliest class; all labels whose probability is at least a half, joined by ``;``.
        Empty for a regression.
        """
        if self.task.kind is Kind.REGRESSION:
            return []
        rows, classes = np.atleast_2d(self.values), self.task.classes
        if self.task.kind is Kind.MULTILABEL:
            return [";".join(classes[i] for i in np.flatnonzero(row >= 0.5)) for row in rows]
        return [classes[index] for index in rows.argmax(axis=1)]


@dataclass(frozen=True)
class Structure:
    """A predicted structure, and how far it can be trusted.

    Parameters
    ----------
    name : str
        The record's name, or its position (from 1) where it came as a plain string.
    sequence : str
        The residues.
    pdb : str
        The atoms, a PDB file; B-factors are the pLDDT of each atom.
    plddt : NDArray [L]
        FP32, confidence in each alpha carbon, 0 to 100.
    pae : NDArray [L, L]
        FP32, predicted aligned error in angstrom.
    ptm : float
        Predicted TM-score, 0 to 1.
    """

    name: str
    sequence: str
    pdb: str
    plddt: NDArray[np.float32]
    pae: NDArray[np.float32]
    ptm: float

    @classmethod
    def of(cls, result: Result) -> "Structure":
        """Read the answer of the endpoint that folds."""
        values = result.values
        (pdb,), (ptm,) = values[PDB], values[PTM]
        return cls(result.name, result.sequence, pdb, values[PLDDT], values[PAE], float(ptm))
