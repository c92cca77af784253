"""Bars of long work: what is done, how fast, how long it will take; on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bionemo_ext.data.progress import Bar


@contextmanager
def bar(what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """Show one piece of work; a ``bionemo_ext.data.progress.Bar``."""
    with bars() as show, show(what, total, unit) as advance:
        yield advance


@contextmanager
def bars() -> Iterator["Bar"]:
    """Give a ``bionemo_ext.data.progress.Bar`` whose pieces of work may contain others.

    Each is a line of its own as long as it lasts; the outermost stays when it is done.
    """
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeElapsedColumn as TimeTaken
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            unit, speed = task.fields["unit"], task.speed or 0
            if not unit:
                return Text("")
            return Text(f"{decimal(int(speed))}/s" if unit == "B" else f"{speed:,.0f} {unit}/s")

    class Left(TimeLeft):
        def render(self, task: Task) -> Text:
            return Text("") if task.total is None else super().render(task)

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), Rate(), TimeTaken(), Left())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:

        @contextmanager
        def show(what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
            outermost = not shown.tasks
            task = shown.add_task(what, total=total, unit=unit)
            try:
                yield lambda done: shown.advance(task, done)
            finally:
                if not outermost:
                    shown.remove_task(task)

        yield show
