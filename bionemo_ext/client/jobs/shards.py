"""An output that is computed in shards, by processes that may be on machines of their own.

Until all are there they lie beside it, with what each needs to go on::

    x.parquet.shards/
        manifest.json                      what the job is: another may not add to these shards
        00003-of-00016.parquet             a shard, whole or not there
        00003-of-00016.skipped.tsv         records that it left out, where that was asked for
        .00004-of-00016.parquet.parts/     one that is not whole yet; see job.py
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bionemo_ext.client.jobs.folder import (
    LOCK,
    MANIFEST,
    differences,
    parts_folder,
    take_lock,
    write_manifest,
)
from bionemo_ext.client.jobs.parts import count_part
from bionemo_ext.errors import InputError, RunError
from bionemo_ext.sequences.shards import FastaRange
from bionemo_ext.whole import cannot_be_written

_KEY = "bionemo_ext.shard"


@dataclass(frozen=True)
class Shard:
    """What a shard's Parquet says of itself.

    Parameters
    ----------
    index : int
        Which it is, from 0.
    start, end, size : int
        Its bytes [start, end) of the FASTA, and all of the FASTA's.
    digest : str
        SHA-256 of those bytes.
    records, skipped : int
        Records that it holds, and that it left out.
    job : mapping of str to str
        What the numbers depend on besides, the same for all shards.
    """

    index: int
    start: int
    end: int
    size: int
    digest: str
    records: int
    skipped: int
    job: Mapping[str, str]

    def metadata(self) -> dict[str, str]:
        """What is written into the schema."""
        return {_KEY: json.dumps(asdict(self))}

    def about(self) -> dict[str, str]:
        """What all shards of the job have in common."""
        return {**self.job, **about_input(self.size)}

    def in_words(self) -> str:
        """Which records it has, in words that are shown where they differ."""
        return f"{self.index}, bytes {self.start:,} to {self.end:,} with digest {self.digest[:12]}"

    def part(self, fasta: Path) -> FastaRange:
        """Its records in ``fasta``."""
        return FastaRange(fasta, self.start, self.end, self.size)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what a file says.

        Raises
        ------
        RunError
            If it is damaged, or none of ours.
        """
        import pyarrow.parquet as pq

        with whole_shard(path), pq.ParquetFile(path) as file:
            found = (file.schema_arrow.metadata or {}).get(_KEY.encode())
            if found is None:
                raise ValueError("it does not say which shard it is")
            shard = cls(**json.loads(found))
            if file.metadata.num_rows != shard.records:
                raise ValueError(
                    f"it says {shard.records:,} records and has {file.metadata.num_rows:,}"
                )
        return shard


class ShardFolder:
    """The shards of an output.

    Parameters
    ----------
    out : Path
        The output; its shards lie in ``NAME.shards`` beside it.
    count : int
        Shards of the job.
    """

    def __init__(self, out: Path, count: int) -> None:
        self.out, self.count = out, count
        self.path = out.with_name(f"{out.name}.shards")

    def shard(self, index: int) -> Path:
        """Where a shard lies once it is whole."""
        return self.path / f"{index:05d}-of-{self.count:05d}.parquet"

    def skipped(self, index: int) -> Path:
        """Where the records lie that a shard left out."""
        return self.shard(index).with_suffix(".skipped.tsv")

    def is_whole(self, index: int) -> bool:
        """Whether a shard is finished: its file is there, and what it was made of is gone."""
        return self.shard(index).is_file() and not self._parts(index).exists()

    def missing(self) -> list[int]:
        """Which shards are not whole."""
        return [index for index in range(self.count) if not self.is_whole(index)]

    def kept(self, index: int) -> int:
        """Count the records of a shard that are on the disk; errors are those of ``Shard.read``."""
        if self.is_whole(index):
            return Shard.read(self.shard(index)).records
        count = 0
        for path in self._parts(index).glob("*.arrow"):
            with suppress(OSError, ValueError):  # it goes when its shard is finished
                count += count_part(path)
        return count

    def claim(self, shard: Shard) -> None:
        """Make the folder that of a shard's job, or see that it is.

        Raises
        ------
        InputError
            If its shards are of another job, or it cannot be written.
        """
        with cannot_be_written(self.path):
            self.path.mkdir(exist_ok=True)
            if not (self.path / MANIFEST).exists():
                write_manifest(self.path, shard.about())
        self.check(shard.about())

    def check(self, about: Mapping[str, str]) -> None:
        """Hold the folder, if it is a job's, to what is known of one.

        Raises
        ------
        InputError
            If its shards are of another job; the message says what differs.
        """
        if not (self.path / MANIFEST).exists():
            return
        other = differences(self.path, about, known_only=True)
        if other:
            raise InputError(
                f"{self.path} has the shards of another job ({'; '.join(other)}): choose another "
                "output, or throw them away with --restart"
            )

    def check_shard(self, shard: Shard) -> None:
        """Hold a shard that is there to what it should be.

        Raises
        ------
        InputError
            If it was computed of other records, or as another job.
        RunError
            If it is damaged.
        """
        path = self.shard(shard.index)
        found = Shard.read(path)
        if (found.in_words(), found.about()) != (shard.in_words(), shard.about()):
            raise InputError(
                f"{path} is of another input or job than this: remove it, and the same command "
                "computes it anew"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from starting or merging the job; goes if nothing is left in it.

        Raises
        ------
        InputError
            If one does, or the folder cannot be made.
        """
        with cannot_be_written(self.path):
            lock = take_lock(self.path, self.out)
        try:
            yield
        finally:
            # Nothing of it is left if somebody threw the folder away meanwhile.
            with suppress(FileNotFoundError):
                if [path.name for path in self.path.iterdir()] == [LOCK]:
                    (self.path / LOCK).unlink()
                    self.path.rmdir()
            lock.close()

    def remove(self, index: int) -> None:
        """Throw a shard away, whole or not; errors are those of :meth:`clear`."""
        with cannot_be_written(self.path):
            for path in (self.shard(index), self.skipped(index)):
                path.unlink(missing_ok=True)
            if self._parts(index).is_dir():
                shutil.rmtree(self._parts(index))

    def clear(self) -> None:
        """Throw all shards away, those of another job too.

        Raises
        ------
        InputError, RunError
            If the folder cannot be written.
        """
        with cannot_be_written(self.path):
            (self.path / MANIFEST).unlink(missing_ok=True)
            for path in self.path.glob("*-of-*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _parts(self, index: int) -> Path:
        return parts_folder(self.shard(index))


def about_input(size: int) -> dict[str, str]:
    """What a job says of a FASTA of ``size`` bytes, decompressed."""
    return {"size of the FASTA": f"{size:,} bytes"}


@contextmanager
def whole_shard(path: Path) -> Iterator[None]:
    """Tell in a sentence that a shard is damaged.

    Raises
    ------
    RunError
        For what pyarrow, or a look into it, finds wrong.
    """
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{path} is damaged ({reason}); once it is removed, the same command computes it anew"
        ) from None
