"""A file is there whole, or not at all; what stands in its way is told in a sentence."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bionemo_ext.errors import InputError, RunError

# Nothing is wrong with what was asked for; the place is too small, or broken.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def check_out(path: Path, suffixes: Iterable[str]) -> None:
    """Refuse early what could not be written at the end.

    Raises
    ------
    InputError
        If the suffix is not one of ``suffixes``, the folder is missing, or a folder is there.
    """
    known = list(suffixes)
    if path.suffix.lower() not in known:
        raise InputError(f"{path} ends in none of {', '.join(known)}, which says the format")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to")
    if path.is_dir():
        raise InputError(f"{path} is a folder")


@contextmanager
def cannot_be_written(path: Path) -> Iterator[None]:
    """Tell in a sentence that ``path`` cannot be written.

    Raises
    ------
    RunError
        If there is no room for it.
    InputError
        If the place is wrong: a folder that is missing or may not be written to.
    """
    try:
        yield
    except OSError as error:
        kind = RunError if error.errno in _NO_ROOM else InputError
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise kind(f"{path} cannot be written: {reason}") from None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour to write, which takes the place of ``path`` at the end.

    Errors are those of :func:`cannot_be_written`.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with cannot_be_written(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
