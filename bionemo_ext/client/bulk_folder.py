"""The folder of a bulk job: who works on it, and what the job is."""

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bionemo_ext.client.bulk_parts import sync
from bionemo_ext.errors import InputError

LOCK = "lock"
MANIFEST = "manifest.json"


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
    """Write what a job is; errors are OSError."""
    path = folder / MANIFEST
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(about, indent=2))
    sync(partial)
    partial.replace(path)


def differences(folder: Path, about: Mapping[str, str]) -> list[str]:
    """Tell in words how the folder's job differs from this one; nothing where it is the same."""
    found = _read(folder / MANIFEST)
    return [
        f"{key} {found.get(key, 'unknown')}, now {about.get(key, 'unknown')}"
        for key in {**found, **about}
        if found.get(key) != about.get(key)
    ]


def _read(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError, ValueError):
        return dict(json.loads(path.read_text()))
    return {}
