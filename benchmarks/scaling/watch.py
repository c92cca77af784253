"""What servers say of themselves while they are under load: counters, queue, processor time."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.request import urlopen

import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bionemo_ext.contract import HOST
from bionemo_ext.errors import RunError
from bionemo_ext.serving import LocalServer

# Often enough for the edges of a pass, and rarely enough to cost the servers nothing.
_EVERY_S = 0.25
_READINGS = 20
# Of each server, and how many times as long as was asked for to wait for them.
_PASSES = 4
_PATIENCE = 10
_PREFIX = "bionemo_ext_"
RESIDUES, SEQUENCES = "residues_total", "sequences_total"
QUEUED, QUEUE_US, PENDING = "queued_requests_total", "queue_us_total", "pending_requests"


def read_metrics(server: LocalServer) -> dict[str, float]:
    """Read the encoder's counters and its gauge, without ``bionemo_ext_`` before their names.

    Raises
    ------
    OSError
        If the server does not answer.
    """
    with urlopen(server.metrics_url, timeout=5) as reply:  # noqa: S310 (our own server)
        text = reply.read().decode()
    return {
        sample.name.removeprefix(_PREFIX): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(_PREFIX) and sample.labels.get("model") == HOST
    }


def rate(times: Sequence[float], counts: Sequence[float]) -> float:
    """How fast a counter rises that rises by whole passes.

    A pass of the encoder may be a large part of the time that is watched. So only whole ones
    count: what was added after the first rise that was seen, by the time from there to the last.

    Parameters
    ----------
    times, counts : sequence of float
        The counter at these times, in seconds; it rises at least twice.
    """
    rises = np.flatnonzero(np.diff(counts)) + 1
    first, last = rises[0], rises[-1]
    return float((counts[last] - counts[first]) / (times[last] - times[first]))


def _rises(counts: Sequence[float]) -> int:
    return np.count_nonzero(np.diff(counts))


@dataclass(frozen=True)
class Seen:
    """What a watch came to.

    Parameters
    ----------
    proteins_per_s, residues_per_s : float
        Answered, all servers together.
    queue_s : float
        Seconds that a request waited for its pass on average: what the autoscaler compares with
        ``queueMilliseconds``, here over the time watched instead of two minutes.
    pending, pending_most : float
        Requests that waited at a replica: on average over time and replicas, and the most.
    replica_cores, load_cores : float
        Processor time by wall-clock time: of all servers, and of this process, which makes the
        load and watches it.
    """

    proteins_per_s: float
    residues_per_s: float
    queue_s: float
    pending: float
    pending_most: float
    replica_cores: float
    load_cores: float


class Watch:
    """Reads the metrics of servers again and again while the block lasts.

    Parameters
    ----------
    servers : sequence of LocalServer
        They run.
    seconds : float
        How long to watch, but longer where fewer than four passes of a server have ended by then.

    Attributes
    ----------
    began, ended : float
        As ``time.perf_counter`` counts.
    """

    def __init__(self, servers: Sequence[LocalServer], seconds: float) -> None:
        self._servers, self._seconds = servers, seconds
        self._times: list[list[float]] = [[] for _ in servers]
        self._readings: list[list[dict[str, float]]] = [[] for _ in servers]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.began = self.ended = 0.0

    def __enter__(self) -> Self:
        self.began = time.perf_counter()
        self._own_s, self._replicas_s = time.process_time(), self._processor_s()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._own_s = time.process_time() - self._own_s
        self._replicas_s = self._processor_s() - self._replicas_s
        self.ended = time.perf_counter()

    def wait(self) -> None:
        """Wait until enough was seen.

        Raises
        ------
        RunError
            If that took ten times as long as was asked for.
        """
        end = self.began + _PATIENCE * self._seconds
        time.sleep(self._seconds)
        while min(map(_rises, self._of(RESIDUES))) < _PASSES:
            if not self._thread.is_alive():
                raise RunError("a server's metrics could not be read any more")
            if time.perf_counter() > end:
                raise RunError(
                    f"fewer than {_PASSES} passes of the encoder ended in "
                    f"{_PATIENCE * self._seconds:g} s: give more --seconds"
                )
            time.sleep(_EVERY_S)

    def seen(self) -> Seen:
        """What was seen, after the block."""
        seconds = self.ended - self.began
        waited = sum(map(self._gained, self._of(QUEUE_US))) / 1e6
        pending = np.concatenate(self._of(PENDING))
        return Seen(
            proteins_per_s=sum(map(rate, self._times, self._of(SEQUENCES))),
            residues_per_s=sum(map(rate, self._times, self._of(RESIDUES))),
            queue_s=waited / max(1.0, sum(map(self._gained, self._of(QUEUED)))),
            pending=float(pending.mean()),
            pending_most=float(pending.max()),
            replica_cores=self._replicas_s / seconds,
            load_cores=self._own_s / seconds,
        )

    def _of(self, name: str) -> list[list[float]]:
        """One metric: the readings of each server."""
        return [[reading.get(name, 0.0) for reading in one] for one in self._readings]

    @staticmethod
    def _gained(counts: Sequence[float]) -> float:
        return counts[-1] - counts[0]

    def _read(self) -> None:
        while not self._stop.wait(min(_EVERY_S, self._seconds / _READINGS)):
            for place, server in enumerate(self._servers):
                try:
                    self._readings[place].append(read_metrics(server))
                except OSError:  # it ended, which wait() tells
                    return
                self._times[place].append(time.perf_counter())

    def _processor_s(self) -> float:
        """Processor time so far of the servers and their workers."""
        total = 0.0
        for server in self._servers:
            parent = psutil.Process(server.pid)
            for process in (parent, *parent.children(recursive=True)):
                times = process.cpu_times()
                total += times.user + times.system
        return total
