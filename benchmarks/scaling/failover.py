"""One of two replicas is killed under load and comes back; every answer is checked."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.load import Answer, Closed, load
from benchmarks.scaling.watch import SEQUENCES, read_metrics
from bionemo_ext.errors import RunError
from bionemo_ext.serving import LocalServer

_BACK_WITHIN_S = 60
_POLL_S = 0.05


@dataclass(frozen=True)
class Failover:
    """What became of the requests.

    Parameters
    ----------
    asked, answered, lost, wrong : int
        Requests. Wrong is an answer that is nearer to the offline answer of another protein.
    largest_error : float
        Of an element, against the offline answer.
    slowest_s : float
        The longest that a request took.
    away_s : float
        From the kill until the server that was started again answered a request.
    answered_after : int
        Requests that it answered since.
    """

    asked: int
    answered: int
    lost: int
    wrong: int
    largest_error: float
    slowest_s: float
    away_s: float
    answered_after: int


def kill_one(
    servers: Sequence[LocalServer],
    proteins: Sequence[str],
    truth: NDArray[np.float32],
    at_once: int,
    seconds: float,
) -> Failover:
    """Kill the last of the servers under load with SIGKILL, and start it again.

    Parameters
    ----------
    servers : sequence of LocalServer
        They run, and do so afterwards.
    proteins : sequence of str
        What is asked for; N of them.
    truth : ndarray
        [N, H], their offline answers.
    at_once : int
        Requests at once.
    seconds : float
        Of load before the kill, between it and the new start, and after the return.

    Raises
    ------
    RunError
        If the server had ended before, or is not asked again within a minute.
    """
    victim = servers[-1]
    with load([server.url for server in servers], proteins, Closed(at_once)) as outcome:
        time.sleep(seconds)
        if victim.pid is None:
            raise RunError("the server that was to be killed has ended by itself")
        killed = time.perf_counter()
        os.kill(victim.pid, signal.SIGKILL)
        time.sleep(seconds)
        victim.restart()
        _wait_until_asked(victim)
        away_s = time.perf_counter() - killed
        time.sleep(seconds)
        answered_after = int(read_metrics(victim)[SEQUENCES])
    wrong, largest_error = check(outcome.answers, truth)
    return Failover(
        asked=outcome.asked,
        answered=len(outcome.answers),
        lost=outcome.asked - len(outcome.answers),
        wrong=wrong,
        largest_error=largest_error,
        slowest_s=max(answer.came - answer.due for answer in outcome.answers),
        away_s=away_s,
        answered_after=answered_after,
    )


def offline(folder: Path, proteins: Sequence[str], dtype: str) -> NDArray[np.float32]:
    """Mean embeddings [N, H] by the encoder itself, without a server."""
    from bionemo_ext.contract import MAX_TOKENS_PER_PASS
    from bionemo_ext.inference.encoder import Encoder

    encoder = Encoder.load(folder, dtype)
    found = np.zeros((len(proteins), encoder.hidden_size), dtype=np.float32)
    for indices, encoded in encoder.embed(list(proteins), MAX_TOKENS_PER_PASS):
        found[indices] = encoded.mean().numpy()
    return found


def check(answers: Sequence[Answer], truth: NDArray[np.float32]) -> tuple[int, float]:
    """Hold answers to offline ones.

    Parameters
    ----------
    answers : sequence of Answer
        At least one.
    truth : ndarray
        [N, H], offline answers of all proteins.

    Returns
    -------
    wrong : int
        Answers that are nearer to the offline answer of another protein than to that of theirs.
    largest_error : float
        Of an element.
    """
    asked_for = [answer.protein for answer in answers]
    nearest = [int(np.square(truth - answer.mean).sum(1).argmin()) for answer in answers]
    wrong = sum(one != other for one, other in zip(nearest, asked_for, strict=True))
    found = np.stack([answer.mean for answer in answers])
    return wrong, float(np.abs(found - truth[asked_for]).max())


def _wait_until_asked(server: LocalServer) -> None:
    """Wait for the first answer of a server that was just started."""
    end = time.monotonic() + _BACK_WITHIN_S
    while not read_metrics(server).get(SEQUENCES):
        if time.monotonic() > end:
            raise RunError(f"{server.url} was not asked within {_BACK_WITHIN_S} s of its return")
        time.sleep(_POLL_S)
