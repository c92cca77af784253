"""Shards by processes of this machine, each the same command with an index."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bionemo_ext.cli.bulk.outcome import Failure, interruptible, raise_failures, tell
from bionemo_ext.cli.bulk.task import BulkTask
from bionemo_ext.serving.binaries import TIED_TO_PARENT

_LOOK_EVERY_S = 0.1


def compute_in_processes(task: BulkTask, indices: Sequence[int], processes: int) -> None:
    """Compute shards, ``processes`` at a time; one that fails does not stop the others.

    Parameters
    ----------
    task : BulkTask
        The job, which this process's own command line gives too.
    indices : sequence of int
        Which shards.
    processes : int
        How many at a time; each has its share of the processors.

    Raises
    ------
    InputError, RunError
        If shards failed.
    typer.Exit
        If this process was told to stop: it has told the others, and all have kept what they had.
    """
    waiting, free = deque(indices), deque(range(processes))
    running: list[_Worker] = []
    failures: dict[int, Failure] = {}
    with interruptible(task.folder, at_once=False) as signals, _none_left(running):
        while (waiting or running) and not signals:
            while waiting and free:
                running.append(_Worker.start(waiting.popleft(), free.popleft(), processes, task))
            time.sleep(_LOOK_EVERY_S)
            for worker in [one for one in running if one.process.poll() is not None]:
                running.remove(worker)
                free.append(worker.slot)
                failure = worker.failure()
                if failure is not None:
                    failures[worker.index] = failure
                    tell(worker.index, failure)
    raise_failures(failures, len(indices))


@dataclass(frozen=True)
class _Worker:
    """A process that computes a shard."""

    index: int
    slot: int
    process: subprocess.Popen[bytes]
    said: IO[bytes] = field(repr=False)

    @classmethod
    def start(cls, index: int, slot: int, slots: int, task: BulkTask) -> "_Worker":
        name, *words = sys.argv[1:]
        command = [sys.executable, "-m", "bionemo_ext", name, "--index", str(index), *words]
        said = tempfile.TemporaryFile()  # noqa: SIM115 (closed when it has been read)
        process = subprocess.Popen(
            # A worker whose job was killed ends too.
            [sys.executable, "-c", TIED_TO_PARENT, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=_environment(slot, slots, task),
            # Ctrl-C is for this process, which passes it on.
            start_new_session=True,
        )
        return cls(index, slot, process, said)

    def failure(self) -> Failure | None:
        """What went wrong with it, now that it has ended."""
        code = self.process.returncode
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").split("\n")
        self.said.close()
        if code == 0:
            return None
        if code < 0:
            return Failure(f"its process was ended by {signal.Signals(-code).name}", 1)
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return Failure(last.removeprefix("bionemo-ext: ") or f"it ended with code {code}", code)


def _environment(slot: int, slots: int, task: BulkTask) -> dict[str, str]:
    """Give a worker its share of the processors, and a GPU if it wants one."""
    threads = max(1, len(os.sched_getaffinity(0)) // slots)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if task.server.offline and task.server.device == "cuda":
        there = ",".join(path.name[len("nvidia") :] for path in Path("/dev").glob("nvidia[0-9]*"))
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", there).split(",")
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return environment


@contextmanager
def _none_left(running: list[_Worker]) -> Iterator[None]:
    """Tell the workers to keep what they have, and wait for them, whatever ends this."""
    try:
        yield
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.process.wait()
            worker.said.close()
