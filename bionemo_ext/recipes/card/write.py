"""Write a model card and the facts that it was made from."""

import json
from pathlib import Path

from bionemo_ext.errors import CheckpointError
from bionemo_ext.recipes.card.curve import CURVE_FILE, draw
from bionemo_ext.recipes.card.facts import Facts, model_facts, run_facts
from bionemo_ext.recipes.card.licence import licence_facts
from bionemo_ext.recipes.card.tasks import task_facts
from bionemo_ext.recipes.card.text import card_text
from bionemo_ext.recipes.runs import RUN_FILE
from bionemo_ext.whole import whole

CARD_FILE = "MODEL_CARD.md"
FACTS_FILE = "card.json"
_CONFIG = "config.json"


def write_card(
    folder: Path, run: Path | None = None, *, step: int | None = None, known: Facts | None = None
) -> Path:
    """Write ``MODEL_CARD.md`` and ``card.json`` into a Hugging Face folder, or make them again.

    Parameters
    ----------
    folder : Path
        The model.
    run : Path, optional
        The run that trained it; when not given the one in whose folder it lies as ``huggingface``.
        Without any run the facts of the ``card.json`` that is there stay.
    step : int, optional
        The weights' step, where it is not the newest checkpoint's.
    known : dict, optional
        Facts to take instead of those in the folder, where there is no run.

    Returns
    -------
    Path
        The card.

    Raises
    ------
    CheckpointError
        If the folder holds no model, or its ``card.json`` or the run cannot be read.
    """
    before = read_facts(folder)
    if run is None and known is None and (own := run_around(folder)):
        # The same weights as before, even if the run went on.
        run, step = own, before.get("step") if step is None else step
    facts = run_facts(run, step) if run else dict(before if known is None else known)
    facts.setdefault("licence", licence_facts(""))
    facts["model"] = model_facts(folder)
    if tasks := task_facts(folder, run):
        facts["tasks"] = tasks
    curve = facts.get("validation") or []
    facts["plot"] = len(curve) > 1 and draw(curve, folder / CURVE_FILE)
    write_facts(folder, facts)
    with whole(folder / CARD_FILE) as new:
        new.write_text(card_text(facts))
    return folder / CARD_FILE


def card_folder(path: Path) -> Path:
    """The Hugging Face folder that a user means: a run's, an export's, or the folder itself.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    for folder in (path, path / "huggingface"):
        if (folder / _CONFIG).is_file():
            return folder
    if (path / RUN_FILE).is_file():
        raise CheckpointError(
            f"the run {path} has no exported model yet; bionemo-ext convert {path} DEST makes one"
        )
    raise CheckpointError(f"{path} is neither a run's folder nor an exported model")


def read_facts(folder: Path) -> Facts:
    """Read a folder's ``card.json``; nothing where there is none.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    path = folder / FACTS_FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds no facts of a model")
    return found


def run_around(folder: Path) -> Path | None:
    """The run in whose folder a model lies as ``huggingface``."""
    run = folder.resolve().parent
    return run if folder.name == "huggingface" and (run / RUN_FILE).is_file() else None


def write_facts(folder: Path, facts: Facts) -> None:
    """Write ``card.json``."""
    with whole(folder / FACTS_FILE) as new:
        new.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
