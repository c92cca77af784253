"""The labels of single residues, taken apart."""

import re
from collections.abc import Sequence

from bionemo_ext.contract import Kind
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.examples import Example

_NUMBERS = str.maketrans(";", " ")
_APART = re.compile(r"[\s;]")


def residue_labels(target: str, kind: Kind) -> Sequence[str]:
    """Take the labels of L residues apart.

    Parameters
    ----------
    target : str
        Letters, one a residue; or, of numbers and labels that are longer, separated by white
        space (numbers also by semicolons; a semicolon in a multi-label target joins the labels
        of one residue).
    kind : Kind
        Of the task.

    Returns
    -------
    sequence of str
        [L].
    """
    if kind is Kind.REGRESSION:
        return target.translate(_NUMBERS).split()
    return target.split() if kind is Kind.MULTILABEL and is_separated(target) else target


def is_separated(target: str) -> bool:
    """Whether the labels of a multi-label target stand apart, and are not a letter a residue."""
    return _APART.search(target) is not None


def check_residues(example: Example, kind: Kind) -> None:
    """Refuse labels or a mask that are not as many as the residues.

    Raises
    ------
    DataError
        Also if the mask has a letter but 0 and 1.
    """
    residues = len(example.sequence)
    if (count := len(residue_labels(example.target, kind))) != residues:
        raise DataError(f"{example.where} has {count} labels for {residues} residues")
    if not example.mask:
        return
    if len(example.mask) != residues:
        raise DataError(
            f"{example.where} has {len(example.mask)} mask letters for {residues} residues"
        )
    if wrong := set(example.mask) - set("01"):
        raise DataError(
            f"{example.where} has {sorted(wrong)[0]!r} in its mask; 1 (counts) or 0 is needed"
        )
