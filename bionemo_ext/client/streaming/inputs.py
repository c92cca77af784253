"""Inputs of a request beside its sequences: one value for all records, or one a record."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import METHOD, MUTANTS, SEQUENCE, Endpoint
from bionemo_ext.errors import InputError

Value = str | int
# By name: a value for all, or what gives that of the record at a position, from 0.
Inputs = Mapping[str, Value | Callable[[int], Value]]


def check_inputs(inputs: Inputs, endpoint: Endpoint) -> None:
    """Refuse an input that an endpoint does not have.

    Raises
    ------
    InputError
        Names it and those that there are.
    """
    known = [spec.name for spec in endpoint.inputs if spec.name != SEQUENCE]
    for name in inputs:
        if name not in known:
            there = f"its inputs are {', '.join(known)}" if known else "it has none but sequences"
            raise InputError(f"{endpoint.name!r} has no input {name!r}; {there}")


def tensors(
    sequences: Sequence[str], inputs: Inputs, positions: Sequence[int]
) -> dict[str, NDArray[np.object_] | NDArray[np.int32]]:
    """Make the arrays [B, 1] of a request.

    Parameters
    ----------
    sequences : sequence of str
        As the server reads them, B of them.
    inputs : Inputs
        The others.
    positions : sequence of int
        The record of each sequence.
    """
    found = {SEQUENCE: _column(sequences)}
    for name, value in inputs.items():
        found[name] = _column([value(at) if callable(value) else value for at in positions])
    return found


def variants_of(inputs: Inputs, position: int) -> int:
    """Count the variants that are to be scored of the record at ``position``."""
    value = inputs.get(MUTANTS, "")
    text = str(value(position) if callable(value) else value)
    return text.count(",") + 1 if text.strip() else 0


def many_passes(inputs: Inputs) -> bool:
    """Whether each residue, or variant, takes a pass of its own."""
    method = inputs.get(METHOD, "")
    return callable(method) or method == "masked"


def _column(values: Sequence[Value]) -> NDArray[np.object_] | NDArray[np.int32]:
    """Make an array [B, 1] of one type.

    Raises
    ------
    InputError
        If it is neither text nor INT32; NumPy 1 would keep the lower bits of a larger number.
    """
    texts = [value.encode() for value in values if isinstance(value, str)]
    column = np.empty((len(values), 1), dtype=np.object_)
    if len(texts) == len(values):
        column[:, 0] = texts
        return column
    if not all(isinstance(value, int) and -(2**31) <= value < 2**31 for value in values):
        raise InputError("an input is either text or a whole number of 32 bits")
    column[:, 0] = values
    return column.astype(np.int32)
