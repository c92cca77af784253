"""How long work tells what it has done; the command line draws bars of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Advance = Callable[[int], None]
Bar = Callable[[str, int | None, str], AbstractContextManager[Advance]]
"""``bar(what, total, unit)`` gives a function that is told of units done; total None: unknown."""


def silent(what: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
    """A bar that shows nothing."""
    return nullcontext(lambda done: None)
