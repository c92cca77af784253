"""Labels as numbers: what a head is trained on and what its predictions are scored with.

Letters: L residues, C classes or labels.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.examples import Example, LabelledSet
from bionemo_ext.tasks.residues import residue_labels

# A residue's class that does not count; torch's own default to ignore.
IGNORED = -100
# How a residue without a label is written, where the labels of residues are separated.
_NONE = "-"


@dataclass(frozen=True)
class Targets:
    """The labels of a set, one array a protein.

    Parameters
    ----------
    level, kind : Level, Kind
        Of the task.
    classes : tuple of str
        Names of the C classes or labels by number; empty for a regression.
    mean, scale : float
        Mean and standard deviation of the training targets of a regression; else 0 and 1.
    train, validation, test : list of array
        Classification: int64 [] or [L], ``IGNORED`` at residues that do not count. Multi-label:
        float32 of 0 and 1, [C] or [L, C]. Regression: float32 [] or [L] in the target's unit.
        The last two are NaN at residues that do not count.
    """

    level: Level
    kind: Kind
    classes: tuple[str, ...]
    mean: float
    scale: float
    train: list[NDArray[np.generic]]
    validation: list[NDArray[np.generic]]
    test: list[NDArray[np.generic]]


def numeric_targets(
    data: LabelledSet,
    level: Level,
    kind: Kind,
    *,
    classes: Sequence[str] | None = None,
    letters: Mapping[str, Sequence[str]] | None = None,
) -> Targets:
    """Turn labels into numbers.

    Parameters
    ----------
    data : LabelledSet
        What :func:`bionemo_ext.tasks.reading.read_labelled` gave, at the same level and kind.
    level, kind : Level, Kind
        Of the task.
    classes : sequence of str, optional
        Names in the order wanted; when not given, those of the training part, sorted.
    letters : mapping of str to sequence of str, optional
        Of multi-label residues: the labels that a letter stands for.

    Raises
    ------
    DataError
        If a target is not a finite number or is a class that no training example has, or all
        training examples are alike; names the record or line, and the residue.
    """
    if kind is Kind.REGRESSION:
        return _numbers(data, level)
    if kind is Kind.MULTILABEL:
        return _labels(data, level, classes, letters)
    return _classes(data, level, classes)


def _classes(data: LabelledSet, level: Level, given: Sequence[str] | None) -> Targets:
    found = {label for e in data.train for label in _that_count(e, level)}
    if len(found) < 2:
        of = f"all of the class {found.pop()!r}" if found else "without a residue that counts"
        raise DataError(f"{_source(data)}: the training examples are {of}; two classes are needed")
    names, whose = _names(given, found)
    number = {name: i for i, name in enumerate(names)}
    table = _letter_table(number)

    def of_protein(example: Example) -> NDArray[np.int64]:
        if example.target not in number:
            raise _unknown(example, example.target, whose, names)
        return np.array(number[example.target], np.int64)

    def of_residues(example: Example) -> NDArray[np.int64]:
        counts = _counts(example)
        codes = np.frombuffer(example.target.encode("utf-32-le"), np.uint32)
        labels = np.where(counts, table[np.minimum(codes, len(table) - 1)], IGNORED)
        if (wrong := np.flatnonzero(counts & (labels == IGNORED))).size:
            raise _unknown(example, example.target[wrong[0]], whose, names, int(wrong[0]))
        return labels

    convert = of_residues if level is Level.RESIDUE else of_protein
    parts = {name: [convert(e) for e in part] for name, part in data.parts.items()}
    return Targets(level, Kind.CLASSIFICATION, names, 0.0, 1.0, **parts)


def _labels(
    data: LabelledSet,
    level: Level,
    given: Sequence[str] | None,
    letters: Mapping[str, Sequence[str]] | None,
) -> Targets:
    known = letters or {}
    alike = {_split(t, letters) for e in data.train for t in _that_count(e, level)}
    if len(alike) < 2:
        held = ", ".join(sorted(*alike)) or "none"
        raise DataError(f"{_source(data)}: all training examples have the same labels: {held}")
    names, whose = _names(
        given, {label for labels in (*alike, *known.values()) for label in labels}
    )
    number = {name: i for i, name in enumerate(names)}

    def row(example: Example, text: str, residue: int | None = None) -> NDArray[np.float32]:
        if letters is not None and text not in letters:
            raise _unknown(
                example, text, "which is none of the task's letters", [*letters], residue
            )
        found = np.zeros(len(names), np.float32)
        for label in sorted(_split(text, letters)):
            if label not in number:
                raise _unknown(example, label, whose, names, residue)
            found[number[label]] = 1
        return found

    rows: dict[str, NDArray[np.float32]] = {}

    def of_residues(example: Example) -> NDArray[np.float32]:
        texts, counts = residue_labels(example.target, Kind.MULTILABEL), _counts(example)
        found = np.full((len(texts), len(names)), np.nan, np.float32)
        for i in np.flatnonzero(counts):
            if texts[i] not in rows:
                rows[texts[i]] = row(example, texts[i], int(i))
            found[i] = rows[texts[i]]
        return found

    def convert(example: Example) -> NDArray[np.float32]:
        return of_residues(example) if level is Level.RESIDUE else row(example, example.target)

    parts = {name: [convert(e) for e in part] for name, part in data.parts.items()}
    return Targets(level, Kind.MULTILABEL, names, 0.0, 1.0, **parts)


def _numbers(data: LabelledSet, level: Level) -> Targets:
    def of_protein(example: Example) -> NDArray[np.float64]:
        number = _number(example.target)
        if not math.isfinite(number):
            raise DataError(
                f"{example.where} has the target {example.target!r}; a finite number is needed"
            )
        return np.array(number)

    def of_residues(example: Example) -> NDArray[np.float64]:
        texts, counts = residue_labels(example.target, Kind.REGRESSION), _counts(example)
        numbers = np.array([_number(text) for text in texts])
        missing = np.array([text.lower() == "nan" for text in texts])
        if (wrong := np.flatnonzero(counts & ~missing & ~np.isfinite(numbers))).size:
            at = int(wrong[0])
            raise DataError(
                f"{example.where} has the target {texts[at]!r} at residue {at + 1}; a finite "
                "number is needed, or nan where there is none"
            )
        return np.where(counts, numbers, np.nan)

    convert = of_residues if level is Level.RESIDUE else of_protein
    parts = {name: [convert(e) for e in part] for name, part in data.parts.items()}
    train = np.concatenate([numbers.reshape(-1) for numbers in parts["train"]])
    train = train[np.isfinite(train)]
    if not train.size:
        raise DataError(f"{_source(data)}: the training examples are without a residue that counts")
    mean, scale = float(train.mean()), float(train.std())
    if scale == 0:
        raise DataError(f"{_source(data)}: all training targets are {mean:g}; there must be two")
    single = {name: [n.astype(np.float32) for n in part] for name, part in parts.items()}
    return Targets(level, Kind.REGRESSION, (), mean, scale, **single)


def _that_count(example: Example, level: Level) -> Iterable[str]:
    """The label of the protein, or the distinct labels of its residues that count."""
    if level is Level.SEQUENCE:
        return [example.target]
    labels = residue_labels(example.target, Kind.MULTILABEL)
    if not example.mask:
        return set(labels)
    return {label for label, counts in zip(labels, example.mask, strict=True) if counts == "1"}


def _counts(example: Example) -> NDArray[np.bool_]:
    """Which of the L residues count."""
    if not example.mask:
        return np.ones(len(example.sequence), bool)
    return np.frombuffer(example.mask.encode(), np.uint8) == ord("1")


def _split(text: str, letters: Mapping[str, Sequence[str]] | None) -> frozenset[str]:
    """The labels of one protein or residue; none of an unknown letter, which is told later."""
    if letters is not None:
        return frozenset(letters.get(text, ()))
    return frozenset(
        label for part in text.split(";") if (label := part.strip()) not in ("", _NONE)
    )


def _names(given: Sequence[str] | None, found: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Names in their order, and what is wrong with one that is not among them."""
    if given:
        return tuple(given), "which is none of the task's classes"
    return tuple(sorted(found)), "which no training example has"


def _letter_table(number: Mapping[str, int]) -> NDArray[np.int64]:
    """Class by code point, ``IGNORED`` for any other; the last row stands for all beyond."""
    codes = {ord(name): i for name, i in number.items() if len(name) == 1}
    table = np.full(max(codes, default=0) + 2, IGNORED, np.int64)
    table[list(codes)] = list(codes.values())
    return table


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _unknown(
    example: Example, label: str, whose: str, names: Sequence[str], residue: int | None = None
) -> DataError:
    at = "" if residue is None else f" at residue {residue + 1}"
    some = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return DataError(f"{example.where} has the class {label!r}{at}, {whose} ({some})")


def _source(data: LabelledSet) -> str:
    """The file of the training examples, for messages about all of them."""
    first = data.train[0]
    return first.where.removesuffix(f" record {first.name}").removesuffix(f" {first.name}")
