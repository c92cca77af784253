"""Bars of long work: what is done, how fast, how long it will take; on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """Show one piece of work; a ``bionemo_ext.data.progress.Bar``."""
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeElapsedColumn as TimeTaken
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            if not unit:
                return Text("")
            speed = task.speed or 0
            return Text(f"{decimal(int(speed))}/s" if unit == "B" else f"{speed:,.0f} {unit}/s")

    console = Console(stderr=True)
    times = (TimeTaken(),) if total is None else (TimeTaken(), TimeLeft())
    columns = (TextColumn("{task.description}"), BarColumn(), Rate(), *times)
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.advance(task, done)
