"""Where a store is built: ``OUT.partial``, until it is whole and renamed ``OUT``.

Each step's result is renamed when it is whole, so a build that was ended goes on at the step it was
in. Work that was done for other inputs or settings is thrown away.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bionemo_ext.errors import DataError, RunError

Result = tuple[dict[str, np.ndarray], dict[str, Any]]
"""Arrays and facts of a step."""


class Workplace:
    """The folder of one build; a context that only one process can be in.

    Parameters
    ----------
    out : Path
        What is built.
    inputs : list of Path
        Files that the result depends on.
    settings : dict
        All else that it depends on.

    Raises
    ------
    DataError
        If there is something at ``out`` already, or an input is missing.
    RunError
        If another process is building there.
    """

    def __init__(self, out: Path, inputs: list[Path], settings: dict[str, Any]) -> None:
        if out.exists():
            raise DataError(f"{out} is there already; remove it or choose another --out")
        for path in inputs:
            if not path.is_file():
                raise DataError(f"there is no file {path}")
        self.out = out
        self.folder = out.with_name(f"{out.name}.partial")
        found = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in inputs]
        self._plan = json.dumps({"inputs": found, "settings": settings}, default=str, indent=2)

    def __enter__(self) -> "Workplace":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"another process is building {self.out}") from None
        plan = self.folder / "plan.json"
        if not plan.exists() or plan.read_text() != self._plan:
            self._clear()
            plan.write_text(self._plan)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def path(self, name: str) -> Path:
        """Place for a step's result, or for what is thrown away in the end."""
        return self.folder / name

    def step(self, name: str, make: Callable[[], Result]) -> Result:
        """Make a step's arrays and facts, or read them where they were made before."""
        path = self.path(f"{name}.npz")
        if not path.exists():
            arrays, facts = make()
            partial = self.path(f"{name}.partial.npz")
            np.savez(partial, facts=np.array(json.dumps(facts)), **arrays)
            partial.rename(path)
        with np.load(path) as stored:
            arrays = dict(stored)
        return arrays, json.loads(str(arrays.pop("facts")))

    def empty(self, name: str) -> Path:
        """An empty folder; what an ended build left there is thrown away."""
        folder = self.path(name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def finish(self) -> None:
        """Put the store in its place and drop the rest.

        Raises
        ------
        DataError
            If something has come to stand there meanwhile.
        """
        for path in self.path("store").iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        try:
            self.path("store").rename(self.out)
        except OSError as error:
            raise DataError(f"{self.out} cannot be made: {error.strerror}") from None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
