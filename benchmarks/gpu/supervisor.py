"""Starts the worker, and starts it again after a case that took the process with it."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

from benchmarks.gpu.options import Options
from benchmarks.gpu.results import BEGUN, CUT, DONE, FAILED, Results

# A case may hold the device for so long; nothing here takes half of it unless it hangs.
CASE_S = 200.0
_POLL_S = 0.5
# Exit codes: the time is over; a case failed, after which a GPU may answer all with an error.
TIME_OVER, BEGIN_AGAIN = 124, 75


def supervise(options: Options, words: Sequence[str]) -> int:
    """Run ``python -m benchmarks.gpu WORDS`` as worker until all is done or the time is over.

    Returns
    -------
    int
        0 when the worker came to its end, else :data:`TIME_OVER`.
    """
    results = Results(options.out, options.mirror)
    _cut(results)
    began = options.deadline - 60 * options.minutes
    while time.time() < options.deadline:
        spent = ",".join(f"{part}={s:.0f}" for part, s in _spent(results, began).items())
        worker = f"{options.deadline}:{spent}"
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu", *words, "--worker", worker],
            env=os.environ | {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"},
        )
        try:
            code = _watch(process, results, options.deadline)
        finally:
            process.kill()
            process.wait()
        if code is None:
            _cut(results)
            break
        if code == 0 or (results.open_case() is None and code != BEGIN_AGAIN):
            return code  # nothing is left, or the worker cannot even begin
        _close(results, f"the process ended with code {code}")
    return TIME_OVER


def _watch(process: subprocess.Popen[bytes], results: Results, deadline: float) -> int | None:
    """Exit code of the worker; None when the time is over."""
    while process.poll() is None:
        time.sleep(_POLL_S)
        open_case = results.open_case()
        if open_case and time.time() - open_case[1] > CASE_S and "pretrain" not in open_case[0]:
            results.write(open_case[0], FAILED, reason=f"took more than {CASE_S:.0f} s")
            return 1
        # The last case has begun in time; it is given a little more, pretraining ends by itself.
        if time.time() > deadline + 30:
            return None
    return process.returncode


def _cut(results: Results) -> None:
    """Record that a case was cut off, not by its own doing."""
    if open_case := results.open_case():
        results.write(open_case[0], CUT)


def _close(results: Results, reason: str) -> None:
    """Record the case that a process died in."""
    if open_case := results.open_case():
        results.write(open_case[0], FAILED, reason=reason)


def _spent(results: Results, since: float) -> dict[str, float]:
    """Seconds that each part has taken in this call."""
    spent: dict[str, float] = {}
    lines = [line for line in results.lines() if line["time"] >= since]
    for line, after in pairwise(lines):
        if line["status"] == BEGUN and after["status"] in (DONE, FAILED):
            part = line["case"].partition("/")[0]
            spent[part] = spent.get(part, 0.0) + after["time"] - line["time"]
    return spent
