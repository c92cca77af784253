"""The warning that sequences were cut, given where the caller stands."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from bionemo_ext.client.results import Result, TruncationWarning

# What the thread of :class:`bionemo_ext.client.Client` has to say to the thread that waits for it.
_held: ContextVar[list[str] | None] = ContextVar("held", default=None)


def warn_truncated(results: Sequence[Result]) -> None:
    """Warn the caller of the caller, once, if sequences were cut."""
    cut = [result for result in results if result.truncated]
    if not cut:
        return
    message = (
        f"{len(cut):,} of {len(results):,} sequences were longer than {len(cut[0].sequence):,} "
        "residues and only their beginning was used; another policy refuses them or uses windows"
    )
    held = _held.get()
    if held is None:
        warnings.warn(message, TruncationWarning, stacklevel=3)
    else:
        held.append(message)


@contextmanager
def told_here() -> Iterator[None]:
    """Give warnings of another thread that works for this one here, at the end.

    The caller of the caller of this context is warned.
    """
    messages: list[str] = []
    token = _held.set(messages)
    try:
        yield
    finally:
        _held.reset(token)
    for message in messages:
        # Above: __exit__ of contextlib, the user of this context, and its caller.
        warnings.warn(message, TruncationWarning, stacklevel=5)
