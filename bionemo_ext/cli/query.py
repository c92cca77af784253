"""What ``embed`` and ``predict`` share: options, a first look at the input, progress, the end."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from bionemo_ext.client import Result
    from bionemo_ext.sequences import Record, SequencePolicy

FastaArgument = Annotated[
    str, typer.Argument(help="Protein FASTA, also compressed; - is standard input.")
]
UrlOption = Annotated[str, typer.Option(help="Server, for example grpc://127.0.0.1:8001.")]
Long = Literal["truncate", "refuse", "windows"]
LongOption = Annotated[Long, typer.Option(help="Sequences beyond the model's limit.")]
UnknownOption = Annotated[
    bool, typer.Option("--unknown-to-x", help="Read letters outside the alphabet as X.")
]
TimeoutOption = Annotated[float, typer.Option(min=1, help="Seconds for the answer to one request.")]
ModelOption = Annotated[
    str, typer.Option(help="Which of the server's models; what its endpoints' names begin with.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON summary.")]


@dataclass
class Survey:
    """A first pass over the input, so that a bad record is found before work is done.

    Parameters
    ----------
    lengths : list of int
        Residues of each record.
    longest : Record, optional
        The longest record.
    """

    lengths: list[int] = field(default_factory=list)
    longest: "Record | None" = None

    def residues_to_send(self, limit: int, policy: "SequencePolicy") -> int:
        """Count the residues that the server will see, overlaps of windows included.

        Raises
        ------
        SequenceError
            If a record is too long and the policy refuses that.
        """
        from bionemo_ext.sequences import LengthPolicy, windows
        from bionemo_ext.sequences.policy import refuse_long

        if self.longest is not None and policy.long is LengthPolicy.REFUSE:
            refuse_long(self.longest.sequence, self.longest.name, limit)
        if policy.long is LengthPolicy.WINDOWS:
            return sum(end - start for n in self.lengths for start, end in windows(n, limit))
        return sum(min(length, limit) for length in self.lengths)


def make_policy(long: Long, unknown_to_x: bool) -> "SequencePolicy":
    """Make the policy that the options ask for."""
    from bionemo_ext.sequences import LengthPolicy, SequencePolicy

    return SequencePolicy(unknown_to_x=unknown_to_x, long=LengthPolicy(long))


def survey(fasta: str, policy: "SequencePolicy") -> Survey | None:
    """Read the whole input once; None for standard input, which can be read once only.

    Raises
    ------
    FastaError, SequenceError
        As :func:`bionemo_ext.sequences.read_fasta`.
    """
    from bionemo_ext.sequences import read_fasta

    if fasta == "-":
        return None
    found = Survey()
    for record in read_fasta(fasta, policy):
        found.lengths.append(len(record.sequence))
        if found.longest is None or len(record.sequence) > len(found.longest.sequence):
            found.longest = record
    return found


@contextmanager
def progress(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Show residues done, their rate and the time left, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} residues/s")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), Rate(), TimeLeft())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda residues: bar.advance(task, residues)


class Tally:
    """Counts results on their way to the file."""

    def __init__(self) -> None:
        self.records = self.residues = self.truncated = self.windowed = 0
        self.limit = 0
        self._start = time.monotonic()

    def count(self, results: "Iterable[Result]") -> "Iterator[Result]":
        """Pass the results on, counted."""
        for result in results:
            self.note(result)
            yield result

    def note(self, result: "Result") -> None:
        """Count one."""
        self.records += 1
        self.residues += len(result.sequence)
        self.windowed += result.windows > 1
        if result.truncated:
            self.truncated += 1
            self.limit = len(result.sequence)

    def report(self, files: Sequence[Path], as_json: bool) -> None:
        """Print the summary, and a warning where sequences were truncated."""
        seconds = time.monotonic() - self._start
        if self.truncated:
            print(
                f"bionemo-ext: warning: {self.truncated:,} of {self.records:,} records were longer "
                f"than {self.limit:,} residues and only their beginning was used "
                "(--long windows uses all, --long refuse stops)",
                file=sys.stderr,
            )
        rate = self.residues / seconds
        if as_json:
            summary = {
                "out": str(files[0]) if len(files) == 1 else [str(file) for file in files],
                "records": self.records,
                "residues": self.residues,
                "truncated": self.truncated,
                "windowed": self.windowed,
                "seconds": round(seconds, 3),
                "residues_per_s": round(rate, 1),
            }
            typer.echo(json.dumps(summary))
        else:
            names = ", ".join(map(str, files))
            typer.echo(
                f"wrote {names}: {self.records:,} records, {self.residues:,} residues in "
                f"{seconds:.1f} s ({rate:,.0f} residues/s)"
            )
