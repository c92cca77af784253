"""How shards ended, told the same whoever computed them."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import typer

from bionemo_ext.client.jobs.merge import in_words
from bionemo_ext.client.jobs.shards import ShardFolder
from bionemo_ext.errors import InputError, RunError


@dataclass(frozen=True)
class Failure:
    """A shard that was not computed.

    Parameters
    ----------
    sentence : str
        What went wrong.
    exit_code : int
        As :mod:`bionemo_ext.errors` has them.
    """

    sentence: str
    exit_code: int


def tell(index: int, failure: Failure) -> None:
    """Say at once what became of a shard, while the others go on."""
    print(f"bionemo-ext: shard {index}: {failure.sentence}", file=sys.stderr)


def raise_failures(failures: Mapping[int, Failure], asked: int) -> None:
    """End a job some of whose shards were not computed.

    Raises
    ------
    InputError
        If all that went wrong is for the user to mend.
    RunError
        If something else failed.
    """
    if not failures:
        return
    kind = (
        InputError
        if all(one.exit_code == InputError.exit_code for one in failures.values())
        else RunError
    )
    raise kind(
        f"{len(failures):,} of {asked:,} shards failed: {in_words(sorted(failures))}; the others "
        "are kept, and the same command goes on with those that are missing"
    )


@contextmanager
def interruptible(folder: ShardFolder, *, at_once: bool) -> Iterator[list[int]]:
    """End by SIGINT or SIGTERM in good order, and say how to go on.

    Parameters
    ----------
    folder : ShardFolder
        Where the shards lie.
    at_once : bool
        End what is inside by a KeyboardInterrupt; else it looks whether a signal came.

    Yields
    ------
    list of int
        The signal that came, if one did.

    Raises
    ------
    typer.Exit
        On leaving, with the code that says which signal it was.
    """
    signals: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if signals:  # a second one does not disturb the cleaning up
            return
        signals.append(number)
        if at_once:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(KeyboardInterrupt):
            yield signals
        if signals:
            whole = folder.count - len(folder.missing())
            print(
                f"bionemo-ext: interrupted; {whole:,} of {folder.count:,} shards are whole, what "
                "the others have is kept, and the same command goes on from there",
                file=sys.stderr,
            )
            raise typer.Exit(128 + signals[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
