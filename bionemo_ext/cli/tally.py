"""What a command counts, and the summary at its end."""

import json
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bionemo_ext.cli.source import Source

if TYPE_CHECKING:
    from bionemo_ext.client import Result


class Tally:
    """Counts results on their way.

    Parameters
    ----------
    source : Source
        Where their records are from.
    """

    def __init__(self, source: Source) -> None:
        self.records = self.residues = self.sent = 0
        self.resumed = 0
        self._source = source
        self._truncated = self._windowed = 0
        self._last: str | None = None
        self._start = self._asked = self._end = time.monotonic()
        self._before = 0

    def note(self, result: "Result") -> None:
        """Count one; a record with many variants has several results."""
        again = result.name == self._last
        self._last = result.name
        self.records += not again
        self.residues += 0 if again else len(result.sequence)
        self.sent += self._source.count(result.length)
        self._windowed += result.windows > 1
        self._truncated += result.truncated

    def begin(self) -> None:
        """What was counted so far was there before; from here on it is asked for."""
        self.resumed, self._before = self.records, self.residues
        self._asked = time.monotonic()

    def end(self) -> None:
        """Everything has been answered; writing follows."""
        self._end = time.monotonic()

    def report(self, files: Sequence[Path], as_json: bool) -> None:
        """Print the summary, and warnings where records were truncated or left out."""
        seconds = time.monotonic() - self._start
        rate = (self.residues - self._before) / max(self._end - self._asked, 1e-9)
        skipped = len(self._source.skipped)
        warn(self._truncated, self.records, self._source.limit, skipped)
        if as_json:
            summary = {
                "out": str(files[0]) if len(files) == 1 else [str(file) for file in files],
                "records": self.records,
                "residues": self.residues,
                "resumed": self.resumed,
                "skipped": skipped,
                "truncated": self._truncated,
                "windowed": self._windowed,
                "seconds": round(seconds, 3),
                "residues_per_s": round(rate, 1),
                "peak_mib": round(peak_mib(), 1),
            }
            typer.echo(json.dumps(summary))
            return
        names = ", ".join(map(str, files))
        before = f" ({self.resumed:,} of them were there)" if self.resumed else ""
        typer.echo(
            f"wrote {names}: {self.records:,} records{before}, {self.residues:,} residues in "
            f"{seconds:.1f} s ({rate:,.0f} residues/s)"
        )


def warn(truncated: int, records: int, limit: int, skipped: int) -> None:
    """Say on standard error which records were not used as they are.

    Parameters
    ----------
    truncated, records : int
        How many of how many were longer than the limit.
    limit : int
        Residues that the endpoint takes.
    skipped : int
        Records that were left out.
    """
    if truncated:
        print(
            f"bionemo-ext: warning: {truncated:,} of {records:,} records were longer than "
            f"{limit:,} residues and only their beginning was used (--long windows uses all, "
            "--long refuse stops)",
            file=sys.stderr,
        )
    if skipped:
        print(
            f"bionemo-ext: warning: {skipped:,} were left out; the .skipped.tsv file names them",
            file=sys.stderr,
        )


def peak_mib() -> float:
    """The most memory that this process has held, in MiB."""
    with suppress(OSError):
        # Linux counts what the process was started from into ru_maxrss.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
