"""Shards become one file: in order, held to each other and the FASTA, a little at a time."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo_ext.client.jobs.folder import place
from bionemo_ext.client.jobs.shards import Shard, ShardFolder, whole_shard
from bionemo_ext.errors import InputError, RunError, SequenceError
from bionemo_ext.sequences.shards import fasta_range, range_digests
from bionemo_ext.whole import cannot_be_written

if TYPE_CHECKING:
    import pyarrow as pa

# Of a row group that is written: few enough of them, and little to hold.
_GROUP_BYTES = 32 << 20
SKIPPED_HEADER = "name\treason\n"
_TWICE = "the name stands twice, the first time in an earlier shard"

Progress = Callable[[int], None]


@dataclass
class Merged:
    """What was put together.

    Parameters
    ----------
    files : list of Path
        What was written.
    records, residues : int
        Rows, and the residues that were embedded.
    truncated, windowed, skipped : int
        Records of which the end was left out, that were embedded in windows, that were left out.
    """

    files: list[Path]
    records: int = 0
    residues: int = 0
    truncated: int = 0
    windowed: int = 0
    skipped: int = 0

    def count(self, table: "pa.Table") -> None:
        """Add some rows."""
        length, embedded, windows = (
            table[name].to_numpy() for name in ("length", "embedded", "windows")
        )
        self.records += table.num_rows
        self.residues += int(embedded.sum(dtype=np.int64))
        self.truncated += int((embedded < length).sum())
        self.windowed += int((windows > 1).sum())


def read_shards(folder: ShardFolder) -> list[Shard]:
    """Read what the shards say, and hold them to each other.

    Raises
    ------
    RunError
        If some are missing, which the message names, or damaged.
    InputError
        If they are not of one job, or do not make up one input.
    """
    missing = folder.missing()
    if missing:
        raise RunError(
            f"{len(missing):,} of {folder.count:,} shards are missing in {folder.path}: "
            f"{in_words(missing)}; the same command with --index computes one of them, without it "
            "all that are missing"
        )
    shards = [Shard.read(folder.shard(index)) for index in range(folder.count)]
    first = shards[0]
    for shard in shards:
        other = [key for key in first.job if first.job[key] != shard.job.get(key)]
        if other or shard.size != first.size:
            raise InputError(
                f"shards 0 and {shard.index} of {folder.path} are not of one job: they differ in "
                f"{', '.join(other) or 'the size of the FASTA'}; --restart begins anew"
            )
    ends = [0, *(shard.end for shard in shards)]
    starts = [*(shard.start for shard in shards), first.size]
    for index, (end, start) in enumerate(zip(ends, starts, strict=True)):
        if end != start:
            raise InputError(
                f"shard {index} of {folder.path} begins at byte {start:,} of the FASTA, and the "
                f"one before it ends at {end:,}: --restart begins anew"
            )
    return shards


def check_input(
    folder: ShardFolder, shards: Sequence[Shard], fasta: Path, on_shard: Progress
) -> None:
    """Hold the shards to the FASTA, which is read once.

    Raises
    ------
    InputError
        If it has another size, or a shard was computed of other bytes.
    FastaError
        If it cannot be read.
    """
    size = fasta_range(fasta, 0, 1).size
    if size != shards[0].size:
        raise InputError(
            f"the shards in {folder.path} were computed of {shards[0].size:,} bytes, and {fasta} "
            f"has {size:,}: --restart begins anew"
        )
    digests = range_digests([shard.part(fasta) for shard in shards])
    for shard, digest in zip(shards, digests, strict=True):
        if digest != shard.digest:
            raise InputError(
                f"shard {shard.index} in {folder.path} was computed of another {fasta}: remove "
                f"{folder.shard(shard.index)}, and the same command computes it anew"
            )
        on_shard(1)


def merge_shards(
    folder: ShardFolder, shards: Sequence[Shard], skip_bad: bool, on_rows: Progress
) -> Merged:
    """Write the output of its shards, in order; it is there whole, or not at all.

    A row group is in memory at a time, and a number for each name. What was left out is listed in
    ``NAME.skipped.tsv`` beside the output, if there may be any.

    Parameters
    ----------
    folder : ShardFolder
        Where they are.
    shards : sequence of Shard
        As :func:`read_shards` gives them.
    skip_bad : bool
        Leave a record out whose name another shard had before.
    on_rows : callable
        Takes the number of rows that were read: each twice.

    Raises
    ------
    InputError
        If a name stands in two shards, no record is left, or the place cannot be written.
    RunError
        If a shard is damaged, or there is no room.
    """
    repeats = _Repeats(_repeated(folder, on_rows), skip_bad)
    with place(folder.path, folder.out) as path, cannot_be_written(folder.out):
        merged = Merged([folder.out])
        _write(path, folder, shards[0].job, repeats, merged, on_rows)
        merged.skipped = len(repeats.left_out) + sum(shard.skipped for shard in shards)
        if merged.skipped or skip_bad:
            skipped = folder.out.with_suffix(".skipped.tsv")
            with place(folder.path, skipped) as path_of_skipped:
                _write_skipped(path_of_skipped, folder, repeats)
            merged.files.append(skipped)
        if not merged.records:
            raise SequenceError(
                f"the FASTA has no records that can be used; {merged.skipped:,} were left out"
            )
    return merged


def _write(
    path: Path,
    folder: ShardFolder,
    job: Mapping[str, str],
    repeats: "_Repeats",
    merged: Merged,
    on_rows: Progress,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = None
    held: list[pa.Table] = []
    with ExitStack() as stack:
        for index, table in _tables(folder):
            if schema is None:
                about = {"pooling": table.schema.metadata[b"pooling"], "job": json.dumps(job)}
                schema = table.schema.with_metadata(about)
                writer = stack.enter_context(pq.ParquetWriter(path, schema))
            on_rows(table.num_rows)
            kept = repeats.leave_out(index, table.replace_schema_metadata(schema.metadata))
            merged.count(kept)
            held.append(kept)
            if sum(one.nbytes for one in held) >= _GROUP_BYTES:
                writer.write_table(pa.concat_tables(held))
                held.clear()
        if held:
            writer.write_table(pa.concat_tables(held))


def _tables(folder: ShardFolder, columns: list[str] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the row groups of all shards, each with its shard's index."""
    import pyarrow.parquet as pq

    for index in range(folder.count):
        path = folder.shard(index)
        with whole_shard(path):
            file = pq.ParquetFile(path)
        with file:
            for group in range(file.num_row_groups):
                with whole_shard(path):
                    table = file.read_row_group(group, columns)
                yield index, table


def _write_skipped(path: Path, folder: ShardFolder, repeats: "_Repeats") -> None:
    with path.open("w") as file:
        file.write(SKIPPED_HEADER)
        for index in range(folder.count):
            if folder.skipped(index).is_file():
                with folder.skipped(index).open() as lines:
                    next(lines)
                    file.writelines(lines)
            file.writelines(f"{name}\t{_TWICE}\n" for at, name in repeats.left_out if at == index)


def _repeated(folder: ShardFolder, on_rows: Progress) -> frozenset[int]:
    """Hashes that several names have, mostly because they are the same."""
    hashes = [np.empty(0, np.int64)]
    for _, table in _tables(folder, ["name"]):
        names = table["name"].to_pylist()
        hashes.append(np.fromiter(map(hash, names), np.int64, len(names)))
        on_rows(len(names))
    ordered = np.sort(np.concatenate(hashes))
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


class _Repeats:
    """Finds the names that stand in two shards; in one shard none stands twice."""

    def __init__(self, hashes: frozenset[int], skip_bad: bool) -> None:
        self._hashes, self._skip_bad = hashes, skip_bad
        self._first: dict[str, int] = {}
        self.left_out: list[tuple[int, str]] = []

    def leave_out(self, index: int, table: "pa.Table") -> "pa.Table":
        """Give the rows whose names are new."""
        if not self._hashes:
            return table
        import pyarrow as pa

        return table.filter(pa.array([self._is_new(index, n) for n in table["name"].to_pylist()]))

    def _is_new(self, index: int, name: str) -> bool:
        if hash(name) not in self._hashes:
            return True
        first = self._first.setdefault(name, index)
        if first == index:
            return True
        if not self._skip_bad:
            raise InputError(
                f"the name {name!r} stands in shard {first} and again in shard {index}; names must "
                "differ, because results are found by name (--skip-bad leaves the second out)"
            )
        self.left_out.append((index, name))
        return False


def in_words(indices: Sequence[int]) -> str:
    """Name numbers that ascend: ``0-3, 7``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], index]
        else:
            runs.append([index])
    return ", ".join("-".join(map(str, run)) for run in runs)
