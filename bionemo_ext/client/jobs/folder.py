"""The folder of a bulk job: who works on it, and what the job is."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from bionemo_ext.client.jobs.parts import sync
from bionemo_ext.errors import InputError, RunError
from bionemo_ext.whole import cannot_be_written

LOCK = "lock"
MANIFEST = "manifest.json"


def parts_folder(out: Path) -> Path:
    """Where the parts of an output lie until it is whole."""
    return out.with_name(f".{out.name}.parts")


def take_lock(folder: Path, out: Path) -> IO[str]:
    """Make the folder and keep other processes out of it, for as long as the file is open.

    Raises
    ------
    InputError
        If another process has it.
    OSError
        If the folder cannot be made.
    """
    while True:
        folder.mkdir(exist_ok=True)
        path = folder / LOCK
        try:
            file = path.open("a")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError:
            raise InputError(f"another process is writing {out} at this moment") from None
        except FileNotFoundError:
            continue  # whoever had it has just finished, and removed the folder


def write_manifest(folder: Path, about: Mapping[str, str]) -> None:
    """Write what a job is; several processes may. Errors are OSError."""
    partial = folder / f"{MANIFEST}.{uuid4().hex}.partial"
    try:
        partial.write_text(json.dumps(about, indent=2))
        sync(partial)
        partial.replace(folder / MANIFEST)
    finally:
        partial.unlink(missing_ok=True)


def differences(folder: Path, about: Mapping[str, str], *, known_only: bool = False) -> list[str]:
    """Tell in words how the folder's job differs from this one; nothing where it is the same.

    With ``known_only`` what ``about`` says nothing of may be anything.
    """
    found = _read(folder / MANIFEST)
    return [
        f"{key} {found.get(key, 'unknown')}, now {about.get(key, 'unknown')}"
        for key in (about if known_only else {**found, **about})
        if found.get(key) != about.get(key)
    ]


@contextmanager
def place(folder: Path, out: Path) -> Iterator[Path]:
    """Give a path in ``folder`` to write; what is written there takes the place of ``out``.

    Parameters
    ----------
    folder : Path
        Of the job, on the file system of ``out``.
    out : Path
        A file, or a folder that is not there yet.

    Raises
    ------
    RunError, InputError
        If it cannot be written.
    """
    path = folder / out.name
    try:
        yield path
    except (RunError, InputError) as error:  # name the place that was asked for
        raise type(error)(str(error).replace(str(path), str(out))) from None
    with cannot_be_written(out):
        # On the disk before what it was made of goes.
        for written in (path, *(path.iterdir() if path.is_dir() else ())):
            sync(written)
        path.replace(out)
        sync(out.parent)


def _read(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError, ValueError):
        return dict(json.loads(path.read_text()))
    return {}
