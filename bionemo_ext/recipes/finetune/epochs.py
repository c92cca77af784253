"""Figures of a training, a line an epoch."""

import json
from pathlib import Path
from types import TracebackType

Row = dict[str, float]
METRICS = "metrics.jsonl"


class EpochLog:
    """Writes ``metrics.jsonl``; a line reaches the file as its epoch ends.

    Parameters
    ----------
    folder : Path
        A task's.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def __enter__(self) -> "EpochLog":
        self._file = self.path.open("w")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def __call__(self, row: Row) -> None:
        """Write an epoch's figures."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
