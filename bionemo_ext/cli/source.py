"""The records that a command asks about: read, checked, and those left out that cannot be used."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bionemo_ext.cli.progress import progress
from bionemo_ext.errors import InputError, SequenceError

if TYPE_CHECKING:
    from bionemo_ext.sequences import Record, SequencePolicy
    from bionemo_ext.sequences.shards import FastaRange


@dataclass
class Source:
    """The records of a FASTA, fit for an endpoint; read anew by each iteration.

    Parameters
    ----------
    fasta : str
        The file, or ``-``.
    policy : SequencePolicy
        For letters and lengths.
    limit : int
        Residues that the endpoint takes.
    skip_bad : bool
        Leave records out that cannot be used, and go on.
    check : callable, optional
        Raises an InputError for a record that cannot be used for another reason.
    part : FastaRange, optional
        The part of the file to read, in which there may be no record at all.
    skipped : list of (str, str)
        Names of the records that the last iteration left out, and why.
    records : int, optional
        How many there are, once it is known.
    """

    fasta: str
    policy: "SequencePolicy"
    limit: int
    skip_bad: bool = False
    check: Callable[["Record"], None] | None = None
    part: "FastaRange | None" = None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    records: int | None = None

    def __iter__(self) -> "Iterator[Record]":
        """Yield the records.

        Raises
        ------
        FastaError, SequenceError
            As :func:`bionemo_ext.sequences.read_fasta`, and if a record is too long and the policy
            refuses that.
        InputError
            If every record of a whole file was left out.
        """
        from bionemo_ext.sequences import read_fasta

        self.skipped.clear()
        used = 0
        on_bad = self._skip if self.skip_bad else None
        with ExitStack() as stack:
            source = stack.enter_context(self.part.open()) if self.part else self.fasta
            some = self.part is not None
            for record in read_fasta(source, self.policy, on_bad=on_bad, may_be_empty=some):
                try:
                    self._check(record)
                except InputError as error:
                    if not self.skip_bad:
                        raise
                    self._skip(record.name, error)
                    continue
                used += 1
                yield record
        if not used and self.part is None:
            name, reason = self.skipped[0]
            raise SequenceError(
                f"none of {len(self.skipped):,} records can be used; the first, {name!r}: {reason}"
            )
        self.records = used

    def residues_to_send(self) -> int | None:
        """Read everything once, so that a bad record is found before work is done.

        Returns
        -------
        int or None
            Residues that the server will see, overlaps of windows included; None for standard
            input, which can be read once only. Errors are those of iterating.
        """
        if self.fasta == "-":
            return None
        with progress(None, f"reading {Path(self.fasta).name}", "records", stays=False) as advance:
            residues = 0
            for record in self:
                residues += self.count(len(record.sequence))
                advance(1)
        return residues

    def count(self, length: int) -> int:
        """Residues that are sent of a record with ``length`` residues."""
        from bionemo_ext.sequences import LengthPolicy, windows

        if self.policy.long is LengthPolicy.WINDOWS:
            return sum(end - start for start, end in windows(length, self.limit))
        return min(length, self.limit)

    def _check(self, record: "Record") -> None:
        from bionemo_ext.sequences import LengthPolicy
        from bionemo_ext.sequences.policy import refuse_long

        if self.policy.long is LengthPolicy.REFUSE:
            refuse_long(record.sequence, record.name, self.limit)
        if self.check is not None:
            self.check(record)

    def _skip(self, name: str, error: InputError) -> None:
        self.skipped.append((name, str(error)))
