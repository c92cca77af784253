"""The labelled set that a task's settings name: FLIP's, with its counts held to, or any other."""

from functools import partial
from pathlib import Path

from bionemo_ext.contract import Kind, Level
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.errors import ConfigError, DataError
from bionemo_ext.resources import data_path
from bionemo_ext.tasks.catalogue import FlipTask, flip_task
from bionemo_ext.tasks.examples import LabelledSet
from bionemo_ext.tasks.reading import read_labelled
from bionemo_ext.tasks.tables import Columns

_FLIP = "flip:"
# A release that holds FLIP's data to no counts.
_ANY = "any"


def load(
    data: str,
    flip_root: Path,
    *,
    level: Level,
    kind: Kind,
    split: str | None = None,
    release: str | None = None,
    columns: Columns | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 42,
    bar: Bar = silent,
) -> LabelledSet:
    """Read what ``data`` names.

    Parameters
    ----------
    data : str
        ``flip:`` and a task of FLIP, or a file, folder or archive, also one of the demo's.
    flip_root : Path
        Where FLIP's data lie.
    level, kind, split, columns, validation_fraction, test_fraction, seed, bar
        As of :func:`bionemo_ext.tasks.reading.read_labelled`; of a FLIP task ``split`` is its
        usual one when not given.
    release : str, optional
        Of a FLIP task, the release that must be found; the published one when not given, and
        ``any`` to take what there is.

    Raises
    ------
    ConfigError
        If FLIP has no such task or release, or the task is of another level or kind.
    DataError
        As :func:`bionemo_ext.tasks.reading.read_labelled`, and if the counts of a FLIP split are
        not those of the release; names the release whose they are.
    """
    path = locate(data, flip_root)
    read = partial(
        read_labelled,
        path,
        level=level,
        kind=kind,
        columns=columns,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
        bar=bar,
    )
    if not data.startswith(_FLIP):
        if release is not None:
            raise ConfigError(f"release={release} is for FLIP's tasks, {data} is none of them")
        return read(split=split)
    task = flip_task(data.removeprefix(_FLIP))
    release = release or task.release
    if task.releases and release not in (*task.releases, _ANY):
        known = ", ".join((*task.releases, _ANY))
        raise ConfigError(f"FLIP's {task.name} has no release {release!r}; it has {known}")
    if level is not task.level:
        raise ConfigError(f"FLIP's {task.name} has level: {task.level.value}, not {level.value}")
    split = split or task.default
    _check_kind(task, split, kind)
    found = read(split=split, as_published=True)
    check_counts(task, split, release, found.counts, path)
    return found


def _check_kind(task: FlipTask, split: str, kind: Kind) -> None:
    """Refuse another kind than the split's; classes may be read as several labels each."""
    own = (task.splits[split].kind if split in task.splits else None) or task.kind
    if kind is not own and (own, kind) != (Kind.CLASSIFICATION, Kind.MULTILABEL):
        raise ConfigError(
            f"FLIP's {task.name} split {split} has kind: {own.value}, not {kind.value}"
        )


def locate(data: str, flip_root: Path) -> Path:
    """Find where ``data`` lies.

    Parameters
    ----------
    data : str
        ``flip:`` and a task, or a path, or a name of the demo's data.
    flip_root : Path
        Holds FLIP's tasks as ``<task>`` or, as its repository does, as ``splits/<task>``.

    Raises
    ------
    ConfigError
        If FLIP has no such task.
    DataError
        If there is nothing; for FLIP's data, says how to get it.
    """
    if not data.startswith(_FLIP):
        return data_path(data)
    name = flip_task(data.removeprefix(_FLIP)).name
    for folder in (flip_root / name, flip_root / "splits" / name):
        if folder.is_dir():
            return folder
    raise DataError(
        f"FLIP's {name} is not in {flip_root}; get it with "
        f"'bionemo-ext flip download {name} --data {flip_root}'"
    )


def check_counts(
    task: FlipTask, split: str, release: str, found: dict[str, int], path: Path
) -> None:
    """Hold what was read of a FLIP split to the counts that are known of it.

    Raises
    ------
    DataError
        If they differ; names the release that the counts are of, if they are of any.
    """
    known = task.splits[split].counts if split in task.splits else {}
    if release not in known or known[release].agree(found):
        return
    other = next((name for name, counts in known.items() if counts.agree(found)), None)
    has = "{train} train, {validation} validation, {test} test".format_map(found)
    hint = f"this is the release {other!r}, use" if other else "to take it all the same, use"
    raise DataError(
        f"{path} split {split} has {has}, but FLIP's {task.name} of the release {release!r} has "
        f"{known[release]}; {hint} task.release={other or _ANY}"
    )
