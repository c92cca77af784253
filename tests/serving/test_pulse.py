"""A process that was held up knows it; one that computes is not held up."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bionemo_ext.serving.pulse import Pulse, _thread_times

SCRIPT = """
import sys, time
from bionemo_ext.serving.pulse import Pulse
pulse = Pulse()
began = time.monotonic()
print("ready", flush=True)
sys.stdin.readline()
print(pulse.is_late(began, time.monotonic()), flush=True)
pulse.gave_back(time.monotonic())
time.sleep(0.1)  # the beat has come again
now = time.monotonic()
print(pulse.is_late(now, now), flush=True)
"""


def lateness(seconds):
    """Whether a process that was stopped so long is late, and what comes after it, too."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGCONT)
    return process.communicate("go\n", timeout=60)[0].split()


def test_a_process_that_was_stopped_is_late_and_the_next_is_not():
    assert lateness(1.2) == ["True", "False"]


class Silent(Pulse):
    """One without a beat."""

    def _beat(self):
        pass


class Told(Silent):
    """One that is told when its process stood still."""

    def __init__(self, *spans):
        super().__init__()
        for begun, ended in spans:
            self._last = begun, {}
            self._held_up = self._span(ended)

    def _stood_still(self, now):
        return 0.0


@pytest.mark.parametrize(
    ("began", "now", "spans", "late"),
    [
        (10.0, 10.8, [(10.0, 10.7)], False),  # Triton has not looked yet
        (10.0, 11.1, [(10.0, 10.7)], True),
        (10.8, 10.8, [(10.0, 10.7)], False),  # it may have waited since 10.0
        (10.8, 11.0, [(10.0, 10.7)], True),
        (11.5, 11.6, [(10.0, 10.7)], True),
        (11.8, 11.9, [(10.0, 10.7)], False),  # more than a second after
        (11.3, 11.3, [(10.0, 10.6), (10.7, 11.3)], True),  # both count
        (10.0, 300.0, [(100.0, 100.7)], True),  # in the middle of a long one
        (10.0, 300.0, [], False),
    ],
)
def test_what_triton_may_have_given_up(began, now, spans, late):
    pulse = Told(*spans)
    assert pulse.is_late(began, now) == late
    pulse.gave_back(now)
    assert not pulse.is_late(began, now + 1)  # it was in time, so what was before is over


def test_a_pause_that_cost_nothing_is_not_found_later():
    pulse = Silent()
    now = time.monotonic()
    pulse._last = now - 0.7, _thread_times()
    assert not pulse.is_late(now, now)
    pulse.gave_back(now)
    assert pulse._stood_still(now) == 0.0


def test_a_process_that_computes_is_not_held_up():
    # The machine may stand still once; computing would be taken for it each time.
    assert any(not is_late_when_it_computes() for _ in range(3))


def is_late_when_it_computes():
    pulse = Pulse()
    began, count, ran = time.monotonic(), 30_000_000, 0.0
    while ran < 1.2:  # in one go, with Python's lock
        start = time.thread_time()
        sum(range(count))
        ran = time.thread_time() - start
        count *= 2
    at_once = pulse.is_late(began, time.monotonic())
    time.sleep(0.1)  # the beat has come again
    return at_once or pulse.is_late(began, time.monotonic())
