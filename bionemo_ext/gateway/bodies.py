"""Requests and answers as the published schema has them."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from bionemo_ext.contract import Kind, Level
from bionemo_ext.gateway.arrays import Format
from bionemo_ext.sequences import ESM2

# What the hosted service takes; a model may take less.
RESIDUES = "ARNDCQEGHILKMFPSTWYVXBOU"
MAX_SEQUENCES = 32
MAX_RESIDUES = 1024
# The page's: as FASTA files are written, lower case and line ends included (docs/sequences.md).
_LETTERS = re.escape("".join(sorted({*ESM2.residues, *ESM2.residues.lower()})))
_EXAMPLE = "MVEKFVGTWKIADSHNFGEYLKAIGAPKELSDGGDATTPTLYISQKDGDKMTVKIENGPPTFLDTQVKFKLGEEFDEF"


def strict_schema(max_residues: int = MAX_RESIDUES) -> dict[str, Any]:
    """Describe a sequence of the ESM-2 service."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": max_residues,
        "pattern": f"^[{RESIDUES}]+$",
    }


def lenient_schema(max_residues: int = MAX_RESIDUES) -> dict[str, Any]:
    """Describe a sequence as people paste it: white space, lower case, a ``*`` at the end."""
    return {"type": "string", "pattern": rf"^\s*([{_LETTERS}]\s*){{1,{max_residues}}}(\*\s*)?$"}


def _check_residues(sequence: str) -> str:
    if not sequence:
        raise PydanticCustomError("sequence", "a sequence has at least one residue")
    if len(sequence) > MAX_RESIDUES:
        raise PydanticCustomError(
            "sequence",
            "a sequence has {count} residues, the limit is {limit}",
            {"count": len(sequence), "limit": MAX_RESIDUES},
        )
    for position, letter in enumerate(sequence, 1):
        if letter not in RESIDUES:
            raise PydanticCustomError(
                "sequence",
                "{letter} at position {position} is not one of the letters {known}",
                {"letter": ascii(letter), "position": position, "known": RESIDUES},
            )
    return sequence


Residues = Annotated[str, AfterValidator(_check_residues), WithJsonSchema(strict_schema())]
Sequences = Annotated[list[Residues], Field(min_length=1, max_length=MAX_SEQUENCES)]
Pasted = Annotated[str, WithJsonSchema(lenient_schema())]


class EmbeddingRequest(BaseModel):
    """Sequences to embed."""

    sequences: Sequences = Field(examples=[[_EXAMPLE]])
    format: Format = Field(Format.NPZ, description="The file that the answer is.")


class OlderEmbeddingRequest(BaseModel):
    """Sequences to embed, as the older client calls them."""

    sequence: Sequences = Field(examples=[[_EXAMPLE]])
    format: Format = Field(Format.NPZ, description="The file that the answer is.")


class ProteinRequest(BaseModel):
    """One protein to look at."""

    sequence: Pasted = Field(
        description="Residues; white space and lower case are welcome.", examples=[_EXAMPLE]
    )
    name: str = Field("sequence", max_length=200, description="What errors call it.")
    model: str | None = Field(
        None, max_length=64, description="A model of /v1/models; the first when left out."
    )


class ScanRequest(ProteinRequest):
    """One protein whose every substitution is scored."""

    method: Literal["wildtype", "masked"] = Field(
        "wildtype",
        description="One pass over the sequence, or one a residue in which that is masked.",
    )


class Task(BaseModel):
    """What is predicted."""

    name: str
    level: Level = Field(description="One prediction a protein or one a residue.")
    kind: Kind
    classes: list[str] = Field(description="Classes or labels; none for a regression.")


class TaskValues(Task):
    """What was predicted."""

    values: list[list[float]] = Field(
        description="A row a residue, or one row for the protein: a probability a class or label, "
        "or the one number of a regression."
    )


class Tracks(BaseModel):
    """Every task's prediction for one protein."""

    name: str
    model: str
    sequence: str = Field(description="The residues as they were read.")
    tasks: list[TaskValues]


class Scan(BaseModel):
    """The effect of every substitution of one protein."""

    name: str
    model: str
    sequence: str = Field(description="The residues as they were read.")
    method: Literal["wildtype", "masked"]
    amino_acids: str = Field(description="The substitutions, in the order of a row.")
    effects: list[list[float]] = Field(
        description="log p(substitution) - log p(wild type), a row a residue, 0 at the wild type."
    )
