"""The old way to read labels, until its callers name level and kind."""

from pathlib import Path

from bionemo_ext.contract import Kind, Level
from bionemo_ext.tasks import reading
from bionemo_ext.tasks.examples import Example, LabelledSet

__all__ = ["Example", "LabelledSet", "read_labelled"]


def read_labelled(path: Path, *, residues: bool, split: str | None = None) -> LabelledSet:
    """Read a labelled set: letters a residue, or anything a protein."""
    level = Level.RESIDUE if residues else Level.SEQUENCE
    return reading.read_labelled(path, level=level, kind=Kind.CLASSIFICATION, split=split)
