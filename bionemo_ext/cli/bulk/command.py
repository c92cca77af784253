"""The command itself: one shard, all that are missing, or the merge."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bionemo_ext.cli import options
from bionemo_ext.cli.bulk.task import BulkTask
from bionemo_ext.cli.embedding import EmbeddingOptions
from bionemo_ext.cli.progress import progress
from bionemo_ext.cli.tally import warn
from bionemo_ext.errors import InputError

if TYPE_CHECKING:
    from bionemo_ext.client.jobs.merge import Merged


@options.spread
def bulk(
    fasta: Annotated[Path, typer.Argument(help="Protein FASTA; a plain one is read in parts.")],
    out: Annotated[
        Path, typer.Option(help="File to write, x.parquet; shards in x.parquet.shards.")
    ],
    shards: Annotated[int, typer.Option(min=1, max=99_999, help="Into how many to cut the FASTA.")],
    server: options.ServerOptions,
    job: options.JobOptions,
    embedding: EmbeddingOptions,
    index: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="JOB_COMPLETION_INDEX",
            help="Compute this shard alone, counted from 0; an Indexed Job of Kubernetes says it.",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Only put the shards together, all of which are there.")
    ] = False,
    keep_shards: Annotated[
        bool, typer.Option("--keep-shards", help="Leave the shards when they are put together.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="Shards to compute at once.")] = 1,
    engine: Annotated[
        Literal["processes", "ray"],
        typer.Option(help="Who computes them: processes here, or actors of a Ray cluster."),
    ] = "processes",
    ray_address: Annotated[
        str,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="The cluster: auto, HOST:PORT or ray://HOST:PORT; local starts one here.",
        ),
    ] = "local",
) -> None:
    """Embed a FASTA of any size in shards, at once and on several machines.

    Without --index it computes all shards that are missing and puts them together. Stopped at any
    moment, the same command goes on where it stopped.
    """
    from bionemo_ext.whole import check_out

    check_out(out, (".parquet",))
    _check_fasta(fasta)
    task = BulkTask(fasta, out, shards, server, job, embedding)
    if merge and index is not None:
        raise InputError("--index computes a shard and --merge puts all together: give one of them")
    if index is not None:
        _compute_one(task, index)
        return
    began = time.monotonic()
    computed = 0
    with task.folder.held():
        if not merge:
            computed = _compute_missing(task, processes, engine, ray_address)
        merged, limit = _merge(task)
        if not keep_shards:
            task.folder.clear()
    warn(merged.truncated, merged.records, limit, merged.skipped)
    _report(task, merged, computed, time.monotonic() - began)


def _check_fasta(fasta: Path) -> None:
    from bionemo_ext.sequences.fasta import check_file

    check_file(fasta)
    if not fasta.is_file():
        raise InputError(
            f"{fasta} is a stream; shards are parts of a file, which can be read again"
        )


def _compute_one(task: BulkTask, index: int) -> None:
    if index >= task.shards:
        raise InputError(
            f"there is no shard {index}: of {task.shards:,} the last is {task.shards - 1}"
        )
    with task.server.connect() as client:
        done = task.compute(client, index)
    if done is not None:
        done.report(task.job.as_json)
    elif task.job.as_json:
        typer.echo(json.dumps({"out": str(task.folder.shard(index)), "computed": False}))
    else:
        typer.echo(f"{task.folder.shard(index)} is there")


def _compute_missing(task: BulkTask, processes: int, engine: str, ray_address: str) -> int:
    """Compute all shards that are missing; gives how many."""
    from bionemo_ext.cli.bulk.watch import watched
    from bionemo_ext.client.jobs.shards import about_input
    from bionemo_ext.sequences.shards import fasta_range

    folder = task.folder
    if not task.job.restart:
        size = fasta_range(task.fasta, 0, 1).size
        folder.check(task.about() | about_input(size))
    records = task.count_records()
    if task.job.restart:
        folder.clear()
    missing = folder.missing()
    if missing:
        there = sum(map(folder.kept, range(folder.count)))
        with (
            progress(records, "embedding", "records", done=there) as advance,
            watched(folder, missing, advance),
        ):
            if engine == "ray":
                from bionemo_ext.cli.bulk.on_ray import compute_on_ray

                compute_on_ray(task, missing, processes, ray_address)
            else:
                from bionemo_ext.cli.bulk.processes import compute_in_processes

                compute_in_processes(task, missing, processes)
    return len(missing)


def _merge(task: BulkTask) -> "tuple[Merged, int]":
    """Put the shards together; gives the limit of residues too."""
    from bionemo_ext.client.jobs.merge import check_input, merge_shards, read_shards

    shards = read_shards(task.folder)
    doing = f"reading {task.fasta.name} again"
    with progress(len(shards), doing, "shards", stays=False) as advance:
        check_input(task.folder, shards, task.fasta, advance)
    rows = 2 * sum(shard.records for shard in shards)
    with progress(rows, f"writing {task.out.name}", "records", stays=False) as advance:
        merged = merge_shards(task.folder, shards, task.job.skip_bad, advance)
    return merged, int(shards[0].job["limit"])


def _report(task: BulkTask, merged: "Merged", computed: int, seconds: float) -> None:
    if task.job.as_json:
        summary = {
            "out": [str(file) for file in merged.files],
            "shards": task.shards,
            "computed": computed,
            "records": merged.records,
            "residues": merged.residues,
            "skipped": merged.skipped,
            "truncated": merged.truncated,
            "windowed": merged.windowed,
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(summary))
        return
    before = task.shards - computed
    there = f" ({before:,} of them were there)" if before else ""
    typer.echo(
        f"wrote {', '.join(map(str, merged.files))}: {merged.records:,} records, "
        f"{merged.residues:,} residues from {task.shards:,} shards{there} in {seconds:.1f} s"
    )
