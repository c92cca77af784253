"""What is measured, and how much of it: the full sizes, and tiny ones that run anywhere."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bionemo_ext.resources import data_path

# A part's share of the time given, in the order that the parts run in; the last takes what is left.
SHARES: Mapping[str, float] = {
    "parity": 0.15,
    "train": 0.55,
    "inference": 0.15,
    "fp8_steps": 0.10,
    "pretrain": 1.0,
}
SHIPPED = "uniprot.fasta.gz"

Figures = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Plan:
    """Models and sizes of the batches.

    Parameters
    ----------
    parity, steps : tuple of str
        Models whose numbers are compared, and that take ten optimizer steps.
    train, inference : dict
        Micro-batches to try, in tokens; and tokens of an inference batch, by model.
    infer_only : dict
        Models too large to train on one GPU: tokens of a batch.
    length : int
        Tokens that a padded sequence has, and that a longer one is cropped to.
    proteins : int
        Sequences that inference is timed on.
    parity_tokens, step_tokens : int
        Tokens of a batch in these parts, at most.
    pretrain, pretrain_proteins : str, int
        The model that is pretrained, and sequences of a batch.
    """

    parity: tuple[str, ...]
    steps: tuple[str, ...]
    train: Mapping[str, tuple[int, ...]]
    inference: Mapping[str, int]
    infer_only: Mapping[str, int]
    length: int
    proteins: int
    parity_tokens: int
    step_tokens: int
    pretrain: str
    pretrain_proteins: int


PLANS = {
    "full": Plan(
        parity=("esm2_8m", "esm2_650m"),
        steps=("esm2_8m", "esm2_650m"),
        train={
            "esm2_650m": (16_384, 32_768, 65_536),
            "esm2_3b": (8_192, 16_384, 32_768),
        },
        inference={"esm2_650m": 32_768, "esm2_3b": 16_384},
        infer_only={"esm2_15b": 16_384},
        length=1024,
        proteins=1500,
        parity_tokens=4_096,
        step_tokens=16_384,
        pretrain="esm2_8m",
        pretrain_proteins=384,
    ),
    "tiny": Plan(
        parity=("tiny",),
        steps=("tiny",),
        train={"tiny": (256, 512)},
        inference={"tiny": 512},
        infer_only={"tiny": 512},
        length=128,
        proteins=24,
        parity_tokens=256,
        step_tokens=256,
        pretrain="tiny",
        pretrain_proteins=8,
    ),
}


@dataclass(frozen=True)
class Options:
    """What one call was asked for.

    Parameters
    ----------
    parts : tuple of str
        Of :data:`SHARES`, in its order.
    out : Path
        Where the figures go, and where those of an earlier call are found.
    mirror : Path, optional
        A second place for every line and file.
    device : str
        ``cuda`` or ``cpu``.
    plan : Plan
        Sizes.
    fasta : Path
        Proteins.
    minutes : float
        Time given to all parts together.
    deadline : float
        Unix time by which they should have ended.
    again : bool
        Run what failed in an earlier call once more.
    pretrain_steps : int, optional
        End pretraining after so many steps rather than with the time.
    profile : bool
        Also write a profile of one training step of each case.
    """

    parts: tuple[str, ...]
    out: Path
    mirror: Path | None
    device: str
    plan: Plan
    fasta: Path
    minutes: float
    deadline: float
    again: bool = False
    pretrain_steps: int | None = None
    profile: bool = False


@dataclass(frozen=True)
class Case:
    """One measurement; its key names it in the results and says what is done already."""

    key: str
    run: Callable[[], Figures]


Cases = Iterator[Case]


def shipped_proteins() -> Path:
    """The UniProt sample that comes with the package."""
    return data_path(SHIPPED)
