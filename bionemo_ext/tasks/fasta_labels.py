"""FASTA files with labels: in the headers, or in a second file beside the sequences.

Headers carry ``TARGET=... SET=train VALIDATION=False`` (FLIP, biotrainer), or DeepLoc's
``Location-M test``: where in the cell (of ``Cytoplasm-Nucleus`` the first, as FLIP's scl has it),
membrane (M), soluble (S) or unknown (U), and whether the protein is of the test set.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.examples import Example, Row, Unlabelled, clean, part_of
from bionemo_ext.tasks.places import MASKS, SEQUENCES, Place, companion, opened
from bionemo_ext.tasks.residues import is_separated

_ATTRIBUTE = re.compile(r"(\w+)=(\S*)")
_DEEPLOC = re.compile(r"\S+\s+(?P<location>[\w./]+)\S*-(?P<membrane>[MSU])(?P<test>\s+test)?\s*")
_MEMBRANE = {"M": "membrane", "S": "soluble", "U": ""}
# What FLIP calls the label is DeepLoc's location.
_TARGET = "TARGET"


class LabelRecord(NamedTuple):
    """A FASTA record whose lines may be labels and not residues."""

    name: str
    header: str
    lines: list[str]


def read_headers(place: Place, target: str, unlabelled: Unlabelled) -> list[Row]:
    """Read proteins whose headers carry the label.

    Parameters
    ----------
    place : Place
        The FASTA file.
    target : str
        The attribute that is the label, in any case: ``target``; of DeepLoc's headers
        ``location`` (also by the name ``target``) or ``membrane``.
    unlabelled : Unlabelled
        Told of proteins that DeepLoc calls neither membrane-bound nor soluble.

    Raises
    ------
    DataError
        Names the record that has no label, a wrong letter or a wrong set.
    """
    seen: set[str] = set()
    rows: list[Row] = []
    deeploc = False
    for name, header, lines in records(place):
        where = f"{place} record {name}"
        if name in seen:
            raise DataError(f"{where} stands twice; names must differ")
        seen.add(name)
        attributes = _attributes(header)
        deeploc = "MEMBRANE" in attributes
        label = attributes.get(target.upper())
        if label is None:
            raise DataError(f"{where} has no {target.upper()}= in its header")
        if deeploc and not label:
            unlabelled.count += 1
            continue
        part = _part(attributes, where)
        rows.append(Row(part, Example(name, where, clean("".join(lines), name, where), label)))
    if deeploc and any(part == "test" for part, _ in rows):
        # DeepLoc marks the test set alone.
        return [Row(part or "train", example) for part, example in rows]
    return rows


def read_pair(
    folder: Place,
    labels: Place,
    level: Level,
    kind: Kind,
    unlabelled: Unlabelled,
    *,
    repeats: bool = False,
) -> Iterator[Row]:
    """Read sequences and, from a file beside them, their labels and masks.

    Parameters
    ----------
    folder : Place
        Holds ``sequences.fasta`` and perhaps ``mask.fasta`` (biotrainer: ``resolved.fasta``).
    labels : Place
        A record a protein, its header ``>name SET=train VALIDATION=False``.
    level, kind : Level, Kind
        Of the task: letters are joined over lines, numbers stay apart.
    unlabelled : Unlabelled
        Told of sequences that ``labels`` does not name: other splits of the folder may.
    repeats : bool
        Take a name that stands in ``labels`` again with the same labels as another example.

    Raises
    ------
    DataError
        If a record stands twice, or is in one file and not in another that needs it.
    """
    source = companion(folder, SEQUENCES)
    if source is None:
        raise DataError(f"{folder} has no sequences.fasta for the labels of {labels.name}")
    mask_file = companion(folder, *MASKS)
    sequences = _by_name(source)
    masks = _by_name(mask_file) if mask_file else {}
    cleaned: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name, header, lines in records(labels):
        where, text = f"{labels} record {name}", _joined(lines, level, kind)
        if name in texts and not (repeats and texts[name] == text):
            raise DataError(f"{where} stands twice; names must differ")
        if name not in sequences:
            raise DataError(f"{where} has no sequence in {source}")
        if mask_file and name not in masks:
            raise DataError(f"{where} has no mask in {mask_file}")
        texts[name] = text
        if name not in cleaned:
            cleaned[name] = clean("".join(sequences[name]), name, f"{source} record {name}")
        mask = "".join(masks.get(name, ()))
        yield Row(
            _part(_attributes(header), where), Example(name, where, cleaned[name], text, mask)
        )
    unlabelled.count += len(sequences) - len(texts)


def records(place: Place) -> Iterator[LabelRecord]:
    """Read FASTA records with their lines kept apart, as labels that are numbers need it.

    Raises
    ------
    DataError
        If the file cannot be read, is empty or not FASTA, or a record has no name.
    """
    record: LabelRecord | None = None
    with opened(place) as text:
        for number, line in enumerate(text, start=1):
            if line.startswith(">"):
                if record:
                    yield record
                header = line[1:].strip()
                if not header:
                    raise DataError(f"{place} line {number} has no name after '>'")
                record = LabelRecord(header.split(maxsplit=1)[0], header, [])
            elif line.strip():
                if record is None:
                    raise DataError(
                        f"{place} is not a FASTA file: line {number} should begin with '>'"
                    )
                record.lines.append(line.strip())
    if record is None:
        raise DataError(f"{place} has no records")
    yield record


def _joined(lines: list[str], level: Level, kind: Kind) -> str:
    """Lines of letters as one word, of numbers or longer labels with blanks between them."""
    apart = kind is Kind.REGRESSION or (kind is Kind.MULTILABEL and any(map(is_separated, lines)))
    return (" " if apart or level is Level.SEQUENCE else "").join(lines)


def _by_name(place: Place) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, _, lines in records(place):
        if name in found:
            raise DataError(f"{place} record {name} stands twice; names must differ")
        found[name] = lines
    return found


def _attributes(header: str) -> dict[str, str]:
    """What a header says, keys in upper case."""
    found = {key.upper(): value for key, value in _ATTRIBUTE.findall(header)}
    if not found and (deeploc := _DEEPLOC.fullmatch(header)):
        location = deeploc["location"]
        found = {_TARGET: location, "LOCATION": location}
        found["MEMBRANE"] = _MEMBRANE[deeploc["membrane"]]
        if deeploc["test"]:
            found["SET"] = "test"
    return found


def _part(attributes: dict[str, str], where: str) -> str | None:
    if "SET" not in attributes:
        return None
    return part_of(attributes["SET"], attributes.get("VALIDATION"), where)
