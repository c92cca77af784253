"""What FLIP holds: tasks, splits, and how many proteins each part of a split has.

FLIP: Dallago et al., NeurIPS Datasets and Benchmarks 2021, and its repository J-SNACKKB/FLIP, which
added bind, conservation, sav, scl and secondary_structure. Counts of secondary_structure,
conservation, gb1 and bind are those of its archives; of aav, meltome and scl those that the paper
and the notebooks of the repository give; where neither gives any, there are none here.
"""

from dataclasses import dataclass, field

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import ConfigError


@dataclass(frozen=True)
class Counts:
    """How many proteins a split has.

    Parameters
    ----------
    training : int
        Of the set ``train``, those that are marked for validation included.
    validation : int or None
        Of these, marked for validation; None where no source says.
    test : int
        Of the set ``test``.
    """

    training: int
    validation: int | None
    test: int

    def agree(self, found: dict[str, int]) -> bool:
        """Whether ``train``, ``validation`` and ``test`` of a set that was read are these."""
        return (
            found["train"] + found["validation"] == self.training
            and found["test"] == self.test
            and self.validation in (None, found["validation"])
        )

    def __str__(self) -> str:
        if self.validation is None:
            return f"{self.training} train and validation, {self.test} test"
        train = self.training - self.validation
        return f"{train} train, {self.validation} validation, {self.test} test"


@dataclass(frozen=True)
class Split:
    """One way to part a task's proteins.

    Parameters
    ----------
    counts : dict of str to Counts
        By release; empty where no source gives any.
    kind : Kind, optional
        Where it is not the task's.
    """

    counts: dict[str, Counts] = field(default_factory=dict)
    kind: Kind | None = None


@dataclass(frozen=True)
class FlipTask:
    """One task of FLIP.

    Parameters
    ----------
    name : str
        Its folder.
    level, kind : Level, Kind
        What is predicted.
    target : str
        The same in words.
    default : str
        The split that is usually reported.
    splits : dict of str to Split
        All of them.
    release : str
        The release whose counts are expected unless another is asked for.
    """

    name: str
    level: Level
    kind: Kind
    target: str
    default: str
    splits: dict[str, Split]
    release: str

    @property
    def releases(self) -> tuple[str, ...]:
        """Releases that are told apart by their counts."""
        return tuple(dict.fromkeys(r for split in self.splits.values() for r in split.counts))


# The repository's archives as they are since the end of 2022.
CURRENT = "current"


def _counted(training: int, validation: int | None, test: int, kind: Kind | None = None) -> Split:
    return Split({CURRENT: Counts(training, validation, test)}, kind)


_TASKS = (
    FlipTask(
        "secondary_structure",
        Level.RESIDUE,
        Kind.CLASSIFICATION,
        "helix (H), strand (E) or coil (C)",
        "sampled",
        {"sampled": Split({"2022": Counts(10792, 1080, 648), CURRENT: Counts(10792, 1080, 364)})},
        # The published figures are of this release.
        "2022",
    ),
    FlipTask(
        "conservation",
        Level.RESIDUE,
        Kind.CLASSIFICATION,
        "evolutionary conservation, 1 (variable) to 9 (conserved)",
        "sampled",
        {"sampled": _counted(9947, 555, 519)},
        CURRENT,
    ),
    FlipTask(
        "bind",
        Level.RESIDUE,
        Kind.CLASSIFICATION,
        "ligands as a bit field: 1 metal, 2 nucleic acid, 4 small molecule",
        "from_publication",
        {
            "from_publication": _counted(1060, 106, 300),
            "one_vs_many": _counted(1110, 114, 250),
            "two_vs_many": _counted(1341, 140, 19),
            "one_vs_sm": _counted(1110, 111, 134),
            "one_vs_mn": _counted(285, 31, 32),
            "one_vs_sn": _counted(285, 31, 53),
        },
        CURRENT,
    ),
    FlipTask(
        "scl",
        Level.SEQUENCE,
        Kind.CLASSIFICATION,
        "one of ten subcellular locations",
        "mixed_soft",
        {
            "mixed_soft": _counted(11181, 1678, 2768),
            "mixed_hard": _counted(11181, 1678, 490),
            "human_soft": Split(),
            "human_hard": Split(),
            "balanced": Split(),
            "mixed_vs_human_2": _counted(28303, None, 1717, Kind.MULTILABEL),
        },
        CURRENT,
    ),
    FlipTask(
        "meltome",
        Level.SEQUENCE,
        Kind.REGRESSION,
        "melting temperature, degrees Celsius",
        "mixed_split",
        {
            "mixed_split": _counted(24817, 2482, 3134),
            "human": _counted(8148, None, 1945),
            "human_cell": _counted(5792, None, 1366),
        },
        CURRENT,
    ),
    FlipTask(
        "gb1",
        Level.SEQUENCE,
        Kind.REGRESSION,
        "binding of protein G variants, relative to the wild type",
        "two_vs_rest",
        {
            "one_vs_rest": _counted(28, 3, 8705),
            "two_vs_rest": _counted(424, 43, 8309),
            "three_vs_rest": _counted(2990, 299, 5743),
            "low_vs_high": _counted(5089, 509, 3644),
            "sampled": _counted(6988, 699, 1745),
        },
        CURRENT,
    ),
    FlipTask(
        "aav",
        Level.SEQUENCE,
        Kind.REGRESSION,
        "packaging fitness of adeno-associated virus capsids",
        "two_vs_many",
        {
            # Paper and repository do not agree which of the two trains on 82,583.
            "des_mut": Split(),
            "mut_des": Split(),
            "one_vs_many": _counted(1170, None, 81413),
            "two_vs_many": _counted(31807, None, 50776),
            "seven_vs_many": _counted(70002, None, 12581),
            "low_vs_high": _counted(47546, None, 35037),
            "sampled": _counted(66066, None, 16517),
        },
        CURRENT,
    ),
    FlipTask(
        "sav",
        Level.SEQUENCE,
        Kind.CLASSIFICATION,
        "whether a single amino acid variant has an effect",
        "mixed",
        {"mixed": Split(), "human": Split(), "only_savs": Split()},
        CURRENT,
    ),
)
TASKS: dict[str, FlipTask] = {task.name: task for task in _TASKS}


def flip_task(name: str) -> FlipTask:
    """Find a task by name.

    Raises
    ------
    ConfigError
        If FLIP has none of that name; tells those that it has.
    """
    if name not in TASKS:
        raise ConfigError(f"FLIP has no task {name!r}; it has {', '.join(TASKS)}")
    return TASKS[name]
