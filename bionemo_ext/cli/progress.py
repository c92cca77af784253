"""A bar with rate and time left, for work whose units come from other threads too."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(
    total: int | None, what: str, unit: str = "residues", *, done: int = 0, stays: bool = True
) -> Iterator[Callable[[int], None]]:
    """Show what is done, its rate and the time left, on a terminal only.

    Parameters
    ----------
    total : int, optional
        Of everything; None where it is not known.
    what : str
        What is being done.
    unit : str
        What is counted.
    done : int
        What was done before, and does not count for the rate.
    stays : bool
        Whether the bar is left on the screen.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} {unit}/s" if unit else "")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), Rate(), TimeLeft())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=not stays) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda count: bar.advance(task, count)
