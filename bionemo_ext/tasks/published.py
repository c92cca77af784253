"""Published results on FLIP, to stand beside our own.

NVIDIA BioNeMo Framework, benchmark of protein language models: a frozen encoder and a small head (a
two-layer convolution for residues; mean pooling and an MLP for sequences) on FLIP (Dallago et al.,
2021). The figures are single runs without intervals. They are of secondary_structure and
conservation ``sampled``, scl ``mixed_soft``, meltome ``mixed_split`` and gb1 ``two_vs_rest``, whose
mean predictor has a mean squared error of 1.57.
"""

from dataclasses import dataclass

SOURCE = "NVIDIA BioNeMo Framework, frozen encoder and small head, one run each"


@dataclass(frozen=True)
class Column:
    """One task of the table."""

    task: str
    split: str
    metric: str


@dataclass(frozen=True)
class Published:
    """One figure of the table.

    Parameters
    ----------
    model : str
        Name as published.
    split : str
        FLIP's split that it was measured on.
    metric : str
        ``accuracy`` or ``mse``, as :func:`bionemo_ext.tasks.metrics.score` names it.
    value : float
        The score on the test part.
    """

    model: str
    split: str
    metric: str
    value: float


_COLUMNS = (
    Column("secondary_structure", "sampled", "accuracy"),
    Column("scl", "mixed_soft", "accuracy"),
    Column("conservation", "sampled", "accuracy"),
    Column("meltome", "mixed_split", "mse"),
    Column("gb1", "two_vs_rest", "mse"),
)
_ROWS = {
    "one-hot": (0.643, 0.386, 0.202, 128.21, 2.56),
    "ESM-1nv 44M": (0.773, 0.720, 0.249, 82.85, 1.58),
    "ESM-2 650M": (0.855, 0.791, 0.329, 53.38, 1.67),
    "ESM-2 3B": (0.861, 0.812, 0.337, 45.78, 1.64),
    "ESM-2 15B": (0.867, 0.839, 0.340, 39.49, 1.52),
}


def published(task: str) -> list[Published]:
    """Give the published figures of a task, from the smallest model to the largest.

    Parameters
    ----------
    task : str
        FLIP's name of it.

    Returns
    -------
    list of Published
        Empty where nothing was published.
    """
    return [
        Published(model, column.split, column.metric, value)
        for model, values in _ROWS.items()
        for column, value in zip(_COLUMNS, values, strict=True)
        if column.task == task
    ]
