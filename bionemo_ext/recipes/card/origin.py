"""Where a model comes from: the run and step that it is of, or what it says of itself."""

import re
from pathlib import Path

from bionemo_ext.recipes.card.facts import Facts, run_facts
from bionemo_ext.recipes.card.licence import licence_facts
from bionemo_ext.recipes.card.write import read_facts, run_around, write_card, write_facts
from bionemo_ext.recipes.runs import RUN_FILE, checkpoint_step, is_checkpoint

PUBLISHED = re.compile(r"facebook/esm2_\w+")

Origin = tuple[Path | None, int | None, Facts | None]


def describe(folder: Path, source: Path, name: str | None = None) -> Path:
    """Write the card of a Hugging Face folder that was made from ``source``.

    Parameters
    ----------
    folder : Path
        The new folder.
    source : Path
        A run's folder, a checkpoint, a Hugging Face folder or a fair-esm file.
    name : str, optional
        What the user called the source, such as ``facebook/esm2_t6_8M_UR50D``.

    Returns
    -------
    Path
        The card.
    """
    run, step, known = _origin(source, name)
    return write_card(folder, run, step=step, known=known)


def describe_checkpoint(folder: Path, source: Path, name: str | None = None) -> None:
    """Let what is known of ``source`` go with a NeMo checkpoint that was made from it."""
    run, step, known = _origin(source, name)
    write_facts(folder, run_facts(run, step) if run else known or {})


def _origin(source: Path, name: str | None) -> Origin:
    source = source.resolve()
    if (source / RUN_FILE).is_file():
        return source, None, None
    if is_checkpoint(source) and (source.parents[1] / RUN_FILE).is_file():
        return source.parents[1], checkpoint_step(source), None
    known = read_facts(source) if source.is_dir() else {}
    if run := run_around(source):
        return run, known.get("step"), None
    published = name if name and PUBLISHED.fullmatch(name) else ""
    told = {"source": {"name": published or source.name}, "licence": licence_facts(published)}
    return None, None, known or told
