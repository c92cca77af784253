"""``--picture``: one of one protein, a folder of them of several."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bionemo_ext.cli.extras import needs
from bionemo_ext.cli.progress import progress

if TYPE_CHECKING:
    from bionemo_ext.client import Result
    from bionemo_ext.client.jobs import BulkJob


@dataclass(frozen=True)
class Picture:
    """What ``--picture`` asks for.

    Parameters
    ----------
    path : Path
        A file of one protein, or a folder.
    of_one : callable
        Draws a result at a path.
    """

    path: Path
    of_one: Callable[[Path, "Result"], None]

    def check(self, records: int | None) -> None:
        """Refuse early what cannot be drawn; see :func:`bionemo_ext.client.files.pictures`.

        Raises
        ------
        InputError
            If one picture is to show several proteins, or the place is missing.
        RunError
            If matplotlib is not installed.
        """
        with needs("plot"):
            from bionemo_ext.client.files.pictures import check_picture

        check_picture(self.path, records)

    def draw(self, job: "BulkJob") -> list[Path]:
        """Draw every result; gives the file or folder."""
        from bionemo_ext.client.files.structures import FileNames

        if self.path.suffix:
            for result in job:
                self.of_one(self.path, result)
            return [self.path]
        self.path.mkdir(exist_ok=True)
        names = FileNames()
        with progress(len(job), f"drawing {self.path.name}", "pictures", stays=False) as advance:
            for result in job:
                self.of_one(self.path / f"{names.of(result.name)}.png", result)
                advance(1)
        return [self.path]
