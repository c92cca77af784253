"""A progress bar of bytes, for reading and writing models."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bionemo_ext.huggingface.tensors import OnBytes


@contextmanager
def bytes_bar(what: str, total: int | None, watch: Path | None = None) -> Iterator[OnBytes]:
    """Show bytes, rate and time left on a terminal's stderr.

    Parameters
    ----------
    what : str
        What is done.
    total : int or None
        Bytes there are, where that is known.
    watch : Path, optional
        A file or folder that grows while it is written.

    Yields
    ------
    callable
        To be told of bytes that are done, where nothing is watched.
    """
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=total)
        done = threading.Event()

        def look() -> None:
            while watch and not done.wait(0.2):
                progress.update(task, completed=_bytes_at(watch))

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield lambda count: progress.advance(task, count)
        finally:
            done.set()
            watcher.join()


def _bytes_at(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    try:
        return sum(file.stat().st_size for file in files if file.is_file())
    except OSError:  # renamed at this moment
        return 0
