"""The demo's page: one HTML file that asks nobody for anything."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext import __version__
from bionemo_ext.demo import figures
from bionemo_ext.demo.checks import TOLERANCE, Difference, Training
from bionemo_ext.demo.steps import Step

_TEMPLATE = Path(__file__).with_name("page.html")
_VERSIONS = ("torch", "nemo-toolkit", "megatron-core", "nvidia-pytriton", "tritonclient")


@dataclass(frozen=True)
class Protein:
    """One protein to look at.

    Parameters
    ----------
    name, sequence : str
        As they were sent.
    contacts : array
        [L, L], coupling of residue pairs.
    exposed : array
        [L], served probability to be exposed.
    label : str
        ``E`` or ``B`` a residue.
    """

    name: str
    sequence: str
    contacts: NDArray[np.floating]
    exposed: NDArray[np.floating]
    label: str


@dataclass(frozen=True)
class Story:
    """All that the page tells.

    Parameters
    ----------
    date : str
        Of the run.
    training : Training
        The pretraining run.
    tasks : sequence of dict
        ``result.json`` of each task.
    protein : Protein
        The one that is drawn.
    differences : sequence of Difference
        Served against offline.
    steps : sequence of Step
        The commands.
    sizes : dict of str to str
        What is how large.
    seconds : float
        All in all.
    """

    date: str
    training: Training
    tasks: Sequence[dict[str, Any]]
    protein: Protein
    differences: Sequence[Difference]
    steps: Sequence[Step]
    sizes: dict[str, str]
    seconds: float


def render(story: Story) -> str:
    """The page of a run."""
    training, protein = story.training, story.protein
    worst = max((difference.largest for difference in story.differences), default=0.0)
    proteins = max((difference.proteins for difference in story.differences), default=0)
    last = training.perplexities[-1]
    headline = [
        (f"{last:.2f}", f"validation perplexity; residue frequencies alone {training.unigram:.1f}"),
        *(
            (f"{t['test'][t['metric']]:.3f}", f"{t['task']}, test {t['metric']}")
            for t in story.tasks
        ),
        (f"{worst:.0e}", f"largest difference, served to offline, {proteins} proteins"),
        (f"{story.seconds / 60:.1f} min", "from the first command to this page"),
    ]
    return Template(_TEMPLATE.read_text()).substitute(
        version=__version__,
        date=_text(story.date),
        summary="An ESM-2 was pretrained on NeMo and Megatron with tensor parallelism, two tasks "
        "were trained on its frozen embeddings, all was exported to a Triton model repository, "
        "and a real Triton server answered over gRPC.",
        headline="".join(f"<li><b>{_text(a)}</b><span>{_text(b)}</span></li>" for a, b in headline),
        training_figure=figures.training_figure(training),
        training_caption=f"{training.tokens:,} tokens in {training.steps[-1]:,} steps and "
        f"{training.seconds:.0f} s. Perplexity is measured on held-out proteins, at masked places "
        "that stay the same; lower is better.",
        protein=_text(protein.name),
        contact_figure=figures.contact_figure(protein.contacts, f"Contact map of {protein.name}"),
        contact_caption=f"{len(protein.sequence)} residues. Contacts are read from attention, "
        "symmetrised and corrected for what rows and columns explain (APC), by a regression that "
        "is fitted on known structures. There are none here, so every attention head counts the "
        "same. Pairs nearer than six residues along the chain are left out.",
        task_rows="".join(map(_task_row, story.tasks)),
        task_caption=_uncertainty(story.tasks),
        track_figure=figures.track_figure(
            protein.exposed,
            [letter == "E" for letter in protein.label],
            f"Predicted solvent accessibility of {protein.name}",
        ),
        track_caption=_agreement(protein),
        residues=_residues(protein),
        difference_rows="".join(
            _row((d.what, f"{d.values:,}", f"{d.largest:.1e}")) for d in story.differences
        ),
        difference_caption=f"{proteins} proteins over gRPC, and the same by the exported folder "
        f"in plain PyTorch, one at a time. At most {TOLERANCE:.0e} is allowed.",
        size_rows="".join(_row(pair) for pair in story.sizes.items()),
        step_rows="".join(map(_step_row, story.steps)),
        versions=_text(" · ".join(f"{name} {version(name)}" for name in _VERSIONS)),
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _row(cells: Sequence[str]) -> str:
    first, *numbers = cells
    cells_html = "".join(f'<td class="n">{_text(cell)}</td>' for cell in numbers)
    return f"<tr><td>{_text(first)}</td>{cells_html}</tr>"


def _task_row(task: dict[str, Any]) -> str:
    counts, metric = task["counts"], task["metric"]
    ours, one_hot = task["test"][metric], task["one_hot"][metric]
    constant = task.get("majority") or task["mean"]
    scores = (ours, one_hot, constant[metric])
    cells = "".join(f'<td class="n">{value:.3f}</td>' for value in scores)
    numbers = " / ".join(f"{counts[part]:,}" for part in ("train", "validation", "test"))
    return (
        f"<tr><td>{_text(task['task'])}<br><span class='soft'>one answer a {task['level']}</span>"
        f"</td><td>{numbers}</td><td>{_text(metric)}</td>{cells}</tr>"
    )


def _uncertainty(tasks: Sequence[dict[str, Any]]) -> str:
    """How far an accuracy over so few proteins can be from the truth: sqrt(p (1 - p) / n)."""
    found = []
    for task in tasks:
        if task["level"] == "sequence" and task["metric"] == "accuracy":
            count, share = task["counts"]["test"], task["test"]["accuracy"]
            error = (share * (1 - share) / count) ** 0.5
            found.append(
                f"With {count:,} test proteins, the standard error of {_text(task['task'])} is "
                f"{error:.3f}."
            )
    return " ".join(found)


def _step_row(step: Step) -> str:
    return (
        f"<tr><td>{_text(step.name)}<br><code>{_text(step.command)}</code></td>"
        f'<td class="n">{step.seconds:.1f}</td><td class="n">{step.peak_mib:,.0f}</td></tr>'
    )


def _agreement(protein: Protein) -> str:
    pairs = zip(protein.exposed, protein.label, strict=True)
    right = [(probability > 0.5) == (letter == "E") for probability, letter in pairs]
    return (
        f"{sum(right)} of {len(right)} residues are predicted as labelled "
        f"({sum(right) / len(right):.0%}). The protein is of the test split. In the band below, "
        "orange is exposed by label."
    )


def _residues(protein: Protein) -> str:
    """The letters, shaded by prediction, underlined by label, in blocks of ten."""
    spans = []
    for index, letter in enumerate(protein.sequence):
        inner = f"<u>{letter}</u>" if protein.label[index] == "E" else letter
        shade = f"rgba(21,157,149,{0.65 * protein.exposed[index]:.2f})"
        gap = " " if index % 10 == 9 else ""
        spans.append(f'<span style="background:{shade}">{inner}</span>{gap}')
    return "".join(spans)
