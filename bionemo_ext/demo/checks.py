"""What must hold at the end of the demo, or it fails with a sentence."""

import json
from collections import Counter
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np

from bionemo_ext.errors import RunError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import load_task, predict
from bionemo_ext.recipes.runs import read_metrics
from bionemo_ext.sequences import Record, read_fasta

# A unigram model of the residues has about 18.
PERPLEXITY_LIMIT = 16.0
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Training:
    """A pretraining run's figures.

    Parameters
    ----------
    steps, losses : list
        Training loss (nats a masked token) by step.
    validation_steps, perplexities : list
        Validation perplexity by step.
    unigram : float
        Perplexity of the residues' own frequencies.
    tokens : int
        Tokens trained on.
    seconds : float
        Time in training steps and validation.
    """

    steps: list[int]
    losses: list[float]
    validation_steps: list[int]
    perplexities: list[float]
    unigram: float
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Difference:
    """The largest difference between what was served and the same computed here."""

    what: str
    proteins: int
    values: int
    largest: float


def read_training(run: Path, proteins: Path) -> Training:
    """Read a run's figures; the unigram perplexity is that of the FASTA file ``proteins``."""
    rows = read_metrics(run)
    train = [row for row in rows if "loss" in row]
    validation = [row for row in rows if "val_perplexity" in row]
    return Training(
        [int(row["step"]) for row in train],
        [row["loss"] for row in train],
        [int(row["step"]) for row in validation],
        [row["val_perplexity"] for row in validation],
        unigram_perplexity(proteins),
        int(max((row["tokens"] for row in train), default=0)),
        max((row["seconds"] for row in rows), default=0.0),
    )


def unigram_perplexity(proteins: Path) -> float:
    """Perplexity of a model that knows how often each residue occurs and nothing else."""
    counts: Counter[str] = Counter()
    for record in read_fasta(proteins):
        counts.update(record.sequence)
    total = counts.total()
    return exp(-sum(n / total * log(n / total) for n in counts.values()))


def check_training(training: Training) -> None:
    """Hold a run to what a working one reaches.

    Raises
    ------
    RunError
        If the loss did not fall, or the validation perplexity is not below the limit.
    """
    if not training.losses:
        raise RunError("the run has written down no training step")
    tenth = max(1, len(training.losses) // 10)
    first, last = np.mean(training.losses[:tenth]), np.mean(training.losses[-tenth:])
    if not last < first:  # not >=, so that NaN fails too
        raise RunError(f"the training loss did not fall: {first:.3f} at first, {last:.3f} at last")
    if not training.perplexities or not training.perplexities[-1] < PERPLEXITY_LIMIT:
        found = f"{training.perplexities[-1]:.2f}" if training.perplexities else "missing"
        raise RunError(f"the validation perplexity is {found}, not below {PERPLEXITY_LIMIT:.0f}")


def compare_served(
    model: Path,
    tasks: list[Path],
    records: list[Record],
    embeddings: Path,
    answers: dict[str, Path],
) -> list[Difference]:
    """Compute here what the server answered, from the exported folder, and compare.

    Parameters
    ----------
    model : Path
        The exported Hugging Face folder.
    tasks : list of Path
        Task folders.
    records : list of Record
        The proteins that were sent.
    embeddings : Path
        What ``bionemo-ext embed --residues`` wrote, npz.
    answers : dict of str to Path
        By task, what ``bionemo-ext predict`` wrote, JSON.

    Returns
    -------
    list of Difference
        Largest absolute differences.
    """
    heads = {spec.name: (spec, head) for spec, head in map(load_task, tasks)}
    served = {name: _by_name(path) for name, path in answers.items()}
    with np.load(embeddings) as file:
        arrays = {key: file[key] for key in file.files}
    rows = {str(name): row for row, name in enumerate(arrays["names"])}
    found: dict[str, list[float]] = {}
    sizes: Counter[str] = Counter()

    def note(what: str, ours: Any, theirs: Any) -> None:
        if np.shape(ours) != np.shape(theirs):
            raise RunError(f"served {what} have shape {np.shape(theirs)}, not {np.shape(ours)}")
        found.setdefault(what, []).append(float(np.abs(np.asarray(ours) - theirs).max()))
        sizes[what] += int(np.size(ours))

    encoder = Encoder.load(model)
    for record in records:
        encoded, row = encoder.encode([record.sequence]), rows[record.name]
        start, end = arrays["offsets"][row : row + 2]
        note("mean embeddings", encoded.mean()[0].numpy(), arrays["embeddings"][row])
        note("residue embeddings", encoded.residues()[0].numpy(), arrays["residues"][start:end])
        for name, (spec, head) in heads.items():
            answer = served[name][record.name]["probabilities"]
            note(f"{name} predictions", predict(head, spec, encoded)[0], np.array(answer))
    # NumPy's maximum, because Python's loses NaN.
    return [Difference(w, len(d), sizes[w], float(np.max(d))) for w, d in found.items()]


def check_served(differences: list[Difference]) -> None:
    """Hold the served values to the computed ones.

    Raises
    ------
    RunError
        If one differs by more than the tolerance.
    """
    for difference in differences:
        if not difference.largest <= TOLERANCE:  # not >, so that NaN fails too
            raise RunError(
                f"served {difference.what} differ from offline ones by {difference.largest:.1e}, "
                f"more than {TOLERANCE:.0e}"
            )


def _by_name(path: Path) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads(path.read_text())["predictions"]}
