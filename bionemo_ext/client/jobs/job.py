"""A job of any length that may be stopped at any moment, and goes on where it stopped.

Results are kept in parts in a hidden folder beside the output until all are there::

    .x.parquet.parts/
        lock              held by the process that works on it
        manifest.json     what the job is: other values may not go on from these parts
        00000000.arrow    results of the first records, in their order; see parts.py

A part is whole or not there, so whatever ends the process (a signal, a full disk, a loss of
power) costs at most the records since the last one.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bionemo_ext.client.jobs.folder import (
    LOCK,
    MANIFEST,
    differences,
    parts_folder,
    place,
    take_lock,
    write_manifest,
)
from bionemo_ext.client.jobs.parts import count_part, read_part, write_part
from bionemo_ext.client.results import Result
from bionemo_ext.errors import InputError, RunError
from bionemo_ext.sequences import Record
from bionemo_ext.whole import cannot_be_written

_FORMAT = "1"
# A part ends at the first of these: enough for few files, little to lose, little to hold.
_PART_RECORDS = 2_048
_PART_BYTES = 32 << 20
_PART_S = 20.0


class BulkJob:
    """Results of a long job, kept beside its output until all are there.

    Parameters
    ----------
    out : Path
        The output, a file or a folder. Its parts lie in ``.NAME.parts`` beside it.
    about : mapping of str to str
        All that the results depend on besides the records: model, outputs, policy. Parts of
        another job are refused.
    restart : bool
        Throw away the parts that are there.

    Raises
    ------
    InputError
        On entering, if the parts are of another job, another process works on them, or the folder
        cannot be written.

    Examples
    --------
    >>> with BulkJob(Path("x.npz"), {"model": digest}) as job:  # doctest: +SKIP
    ...     for result in client.stream(job.remaining(read_fasta("x.fasta")), ("mean",)):
    ...         job.add(result)
    ...     with job.place(Path("x.npz")) as path:
    ...         write_embeddings(path, job, "mean")
    ...     job.finish()
    """

    def __init__(self, out: Path, about: Mapping[str, str], *, restart: bool = False) -> None:
        self.out = out
        self.folder = parts_folder(out)
        self._about = dict(about)
        self._restart = restart
        self._lock: IO[str] | None = None
        # Parts with the number of their results, and results that are in none yet: one value, so
        # that a signal finds a result in exactly one of the two.
        self._kept: tuple[list[tuple[Path, int]], list[Result]] = ([], [])
        self._held_bytes = 0
        self._held_since = 0.0

    def __enter__(self) -> Self:
        with cannot_be_written(self.folder):
            self._lock = take_lock(self.folder, self.out)
            try:
                self._open()
            except BaseException:
                self._lock.close()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            # On a full disk what is held is lost, and the first error is the one to tell.
            with suppress(*((RunError, InputError) if kind else ())):
                self.flush()
            if not self.on_disk:
                self._remove()
        finally:
            self._let_go()

    def __len__(self) -> int:
        """Count the results that there are."""
        return self.on_disk + len(self._kept[1])

    @property
    def on_disk(self) -> int:
        """Count the results that are in parts: those that outlast this process."""
        return sum(count for _, count in self._kept[0])

    def __iter__(self) -> Iterator[Result]:
        """Yield the results in the order of the records, one part in memory at a time.

        Raises
        ------
        RunError
            If a part is damaged.
        """
        parts, held = self._kept
        for path, _ in parts:
            with _whole_part(path):
                yield from read_part(path)
        yield from held

    def remaining(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records that have no result yet.

        Parameters
        ----------
        records : iterable of Record
            All records of the job, cleaned, in the order of the first time.

        Raises
        ------
        InputError
            If the first records are not those that the results are of.
        """
        source = iter(records)
        for number, kept in enumerate(self, start=1):
            record = next(source, None)
            if record is None or not _is_of(kept, record):
                now = record and f"{record.name!r} of {len(record.sequence):,} residues"
                raise InputError(
                    f"{self.folder} has the results of another input: record {number:,} was "
                    f"{kept.name!r} of {kept.length:,} residues, and is {now or 'missing'}; choose "
                    "another output, or throw them away with --restart"
                )
        yield from source

    def add(self, result: Result) -> None:
        """Take the next record's result.

        Raises
        ------
        RunError, InputError
            If the disk is full, or the part cannot be written.
        """
        held = self._kept[1]
        if not held:
            self._held_bytes, self._held_since = 0, time.monotonic()
        held.append(result)
        self._held_bytes += sum(array.nbytes for array in result.values.values())
        if (
            len(held) >= _PART_RECORDS
            or self._held_bytes >= _PART_BYTES
            or time.monotonic() - self._held_since >= _PART_S
        ):
            self.flush()

    def flush(self) -> None:
        """Put what has been added on the disk; errors are those of :meth:`add`."""
        parts, held = self._kept
        if not held:
            return
        path = self.folder / f"{len(parts):08d}.arrow"
        with cannot_be_written(self.out):
            write_part(path, held)
        self._kept = ([*parts, (path, len(held))], [])

    def place(self, out: Path) -> AbstractContextManager[Path]:
        """Give a path to write, as :func:`bionemo_ext.client.jobs.folder.place` does.

        Parameters
        ----------
        out : Path
            A file, or a folder that is not there yet; in the folder of the job's output.

        Raises
        ------
        RunError, InputError
            On leaving, if it cannot be written.
        """
        return place(self.folder, out)

    def finish(self) -> None:
        """Throw the parts away: the output has everything."""
        self._kept = (self._kept[0], [])
        self._remove()
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _open(self) -> None:
        """Find the parts, and hold them to the manifest."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)  # an output that was not put in its place
            elif path.suffix != ".arrow" and path.name not in (LOCK, MANIFEST):
                path.unlink()
        self._kept = (list(self._parts()), [])
        if self._restart:
            self._remove_parts()
        about = {"format": _FORMAT, **self._about}
        if self.on_disk:
            other = differences(self.folder, about)
            if other:
                raise InputError(
                    f"{self.folder} has the results of {self.on_disk:,} records of another job "
                    f"({'; '.join(other)}): choose another output, or throw them away with "
                    "--restart"
                )
        else:
            write_manifest(self.folder, about)

    def _parts(self) -> Iterator[tuple[Path, int]]:
        number = 0
        while (path := self.folder / f"{number:08d}.arrow").exists():
            with _whole_part(path):
                count = count_part(path)
            yield path, count
            number += 1

    def _remove_parts(self) -> None:
        # From the last one, so that what is left at any moment is a beginning.
        parts, held = self._kept
        for path, _ in reversed(parts):
            path.unlink()
        self._kept = ([], held)

    def _remove(self) -> None:
        """Remove the folder, if it is still this process's."""
        if self._lock is None:
            return
        with cannot_be_written(self.folder):
            self._remove_parts()
            # The lock goes last; another process may then make the folder its own.
            for name in (MANIFEST, LOCK):
                (self.folder / name).unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()


def _is_of(result: Result, record: Record) -> bool:
    """Whether a result is that of a record, which may have been truncated."""
    return (
        result.name == record.name
        and result.length == len(record.sequence)
        and record.sequence.startswith(result.sequence)
    )


@contextmanager
def _whole_part(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{path} is damaged ({reason}); --restart throws the parts away and begins anew"
        ) from None
