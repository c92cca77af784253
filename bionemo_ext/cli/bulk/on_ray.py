"""Shards by actors of a Ray cluster, which keep the client, or the encoder, from shard to shard."""

import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bionemo_ext.cli.bulk.outcome import Failure, interruptible, raise_failures, tell
from bionemo_ext.cli.bulk.task import BulkTask
from bionemo_ext.cli.extras import needs
from bionemo_ext.errors import BionemoExtError, RunError
from bionemo_ext.recipes.quiet import quieten

if TYPE_CHECKING:
    from bionemo_ext.client import Client

_HERE = "local"
_REACH_S = 10.0
# How often a shard is begun whose actor was lost, as where a machine is taken away.
_TRIES = 4


def compute_on_ray(task: BulkTask, indices: Sequence[int], actors: int, address: str) -> None:
    """Compute shards, at most ``actors`` at a time; one that fails does not stop the others.

    Parameters
    ----------
    task : BulkTask
        The job; its paths lead to the same files on every machine of the cluster.
    indices : sequence of int
        Which shards.
    actors : int
        How many at a time, each with a CPU, and with a GPU where the encoder is to run on one.
    address : str
        The cluster's; ``local`` starts one on this machine, and ends it.

    Raises
    ------
    InputError, RunError
        If shards failed, or the cluster cannot be reached.
    """
    _set_up(address)
    with needs("ray"):
        import ray
        from ray.data import ActorPoolStrategy

    failures: dict[int, Failure] = {}
    left = set(indices)
    with _cluster(address, actors), interruptible(task.folder, at_once=True):
        # Each a task of its own, so that a free actor takes the next; none waits for a busy one.
        begun = ray.remote(num_cpus=0)(_Begun).remote()
        items = ray.data.from_items(list(indices), override_num_blocks=len(indices))
        outcomes = items.map(
            _Actor,
            fn_constructor_args=(_with_whole_paths(task), begun),
            compute=ActorPoolStrategy(
                size=min(actors, len(indices)), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=1,
            num_gpus=_gpus(task),
        )
        for outcome in outcomes.iter_rows():
            index = outcome["index"]
            left.remove(index)
            if outcome["exit_code"]:
                failures[index] = Failure(outcome["sentence"], outcome["exit_code"])
                tell(index, failures[index])
    for index in sorted(left):
        failures[index] = Failure("it failed in a way that Ray's log tells", 1)
        tell(index, failures[index])
    raise_failures(failures, len(indices))


class _Begun:
    """How often shards were begun; Ray itself begins one that ends its actor without an end."""

    def __init__(self) -> None:
        self._times: Counter[int] = Counter()

    def begin(self, index: int) -> int:
        """Count one more."""
        self._times[index] += 1
        return self._times[index]


class _Actor:
    """Computes one shard after another with the same client."""

    def __init__(self, task: BulkTask, begun: Any) -> None:
        self._task = task
        self._begun = begun
        self._client: Client | None = None

    def __call__(self, row: dict[str, int]) -> dict[str, Any]:
        """Compute the shard ``item`` of a row; gives how it ended."""
        import ray

        index = row["item"]
        if ray.get(self._begun.begin.remote(index)) > _TRIES:
            sentence = f"it ended its process {_TRIES} times; Ray's log tells how"
            return {"index": index, "exit_code": RunError.exit_code, "sentence": sentence}
        try:
            if self._client is None:
                self._client = self._task.server.connect()
            self._task.compute(self._client, index)
        except BionemoExtError as error:
            return {"index": index, "exit_code": error.exit_code, "sentence": str(error)}
        return {"index": index, "exit_code": 0, "sentence": ""}


def _gpus(task: BulkTask) -> int:
    return int(task.server.offline is not None and task.server.device.startswith("cuda"))


def _with_whole_paths(task: BulkTask) -> BulkTask:
    """Make the paths of a task those that do not depend on where a process was started."""
    server = replace(
        task.server,
        **{
            one.name: getattr(task.server, one.name).resolve()
            for one in fields(task.server)
            if isinstance(getattr(task.server, one.name), Path)
        },
    )
    return replace(task, fasta=task.fasta.resolve(), out=task.out.resolve(), server=server)


def _set_up(address: str) -> None:
    """Say what Ray reads when it is imported."""
    quieten()
    if address == _HERE:
        # Nobody is told of it, and it listens on loopback alone, as Ray does on a Mac.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@contextmanager
def _cluster(address: str, cpus: int) -> Iterator[None]:
    """Join a cluster, or start one here; what Ray says goes to standard error.

    Raises
    ------
    RunError
        If there is none at the address.
    """
    import ray

    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.ERROR)
    words: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == _HERE:
        cpus = max(cpus, len(os.sched_getaffinity(0)))
        words |= {"num_cpus": cpus, "include_dashboard": False}
    try:
        _reach(address)
        ray.init(address, **words)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"no Ray cluster can be used at {address!r}: {reason}") from None
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # A shard whose actor is lost for good is told at the end; the others go on.
        context.max_errored_blocks = -1
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """See that somebody listens at ``HOST:PORT``, for which Ray itself would wait without an end.

    Raises
    ------
    OSError
        If nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
