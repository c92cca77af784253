"""A process that was held up knows it; one that computes is not held up."""

import os
import signal
import subprocess
import sys
import time

from bionemo_ext.serving.pulse import Pulse

SCRIPT = """
import sys, time
from bionemo_ext.serving.pulse import Pulse
pulse = Pulse()
began = time.monotonic()
print("ready", flush=True)
sys.stdin.readline()
print(pulse.held_up(began), flush=True)
"""


def held_up(seconds):
    """Whether a process says so that was stopped so long."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGCONT)
    return process.communicate("go\n", timeout=60)[0] == "True\n"


def test_a_process_that_was_stopped_was_held_up():
    assert held_up(1.0)


def test_a_process_that_computes_is_not_held_up():
    pulse = Pulse()
    began, count, ran = time.monotonic(), 30_000_000, 0.0
    while ran < 1.2:  # in one go, with Python's lock
        start = time.thread_time()
        sum(range(count))
        ran = time.thread_time() - start
        count *= 2
    assert not pulse.held_up(began)
    time.sleep(0.1)  # the beat has come again
    assert not pulse.held_up(began)
