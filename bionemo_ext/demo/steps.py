"""Run the real commands, one process each, and note what each took."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from bionemo_ext.errors import RunError

_COMMAND = (sys.executable, "-m", "bionemo_ext")
_READY = "ready: "


@dataclass(frozen=True)
class Step:
    """One command of the demo that has ended.

    Parameters
    ----------
    name : str
        What it did, in a few words.
    command : str
        What a user would type.
    seconds : float
        Wall-clock time.
    peak_mib : float
        Resident memory of its largest process, in MiB.
    """

    name: str
    command: str
    seconds: float
    peak_mib: float


@dataclass
class Steps:
    """The steps so far; each is printed as it begins and ends."""

    done: list[Step] = field(default_factory=list)

    def run(self, name: str, words: Sequence[str]) -> None:
        """Run ``bionemo-ext WORDS`` to its end; what it prints goes to the terminal.

        Raises
        ------
        RunError
            If it fails.
        """
        began = self.begin(name, words)
        # In our group, so that Ctrl-C reaches it too.
        process = subprocess.Popen([*_COMMAND, *words])
        self.finish(name, words, began, process)

    def begin(self, name: str, words: Sequence[str]) -> float:
        """Announce a step; the time it begins at."""
        print(f"\n== {name}: {shown(words)}", flush=True)
        return time.monotonic()

    def finish(
        self, name: str, words: Sequence[str], began: float, process: subprocess.Popen[str]
    ) -> None:
        """Wait for a step's process and note it.

        Raises
        ------
        RunError
            If it fails.
        """
        try:
            peak_mib = _wait(process)
        except BaseException:  # Ctrl-C or an order to end: no step outlives the demo
            process.terminate()
            process.wait()
            raise
        step = Step(name, shown(words), time.monotonic() - began, peak_mib)
        print(f"== {name}: {step.seconds:.1f} s, {step.peak_mib:,.0f} MiB", flush=True)
        if process.returncode != 0:
            raise RunError(
                f"the step {name!r} ended with exit code {process.returncode}; "
                f"its own words stand above ({step.command})"
            )
        self.done.append(step)


class Served:
    """``bionemo-ext serve`` as a context: ready when entered, stopped when left.

    Parameters
    ----------
    steps : Steps
        Takes the time until the server is ready, and its memory.
    words : sequence of str
        The command with its ports.
    """

    def __init__(self, steps: Steps, words: Sequence[str]) -> None:
        self.steps, self.words = steps, words

    def __enter__(self) -> "Served":
        self.began = self.steps.begin("serve", self.words)
        # A group of its own: Ctrl-C is for the demo, which then stops the server itself.
        self.process = subprocess.Popen(
            [*_COMMAND, *self.words], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        self.seconds = time.monotonic() - self.began
        print(f"== serve: ready after {self.seconds:.1f} s", flush=True)
        return self

    def _await_ready(self) -> None:
        lines: IO[str] | None = self.process.stdout
        for line in lines or ():
            print(line, end="", flush=True)
            if line.startswith(_READY):
                # Whatever it prints later must not fill the pipe.
                threading.Thread(target=_pass_on, args=(lines,), daemon=True).start()
                return
        raise RunError(f"the server did not start: {shown(self.words)}")

    def _stop(self) -> float:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return _wait(self.process)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        began = time.monotonic()
        peak_mib = self._stop()
        print(f"== serve: stopped in {time.monotonic() - began:.1f} s", flush=True)
        if kind is not None:
            return
        if self.process.returncode != 0:
            raise RunError(f"the server ended with exit code {self.process.returncode}")
        self.steps.done.append(Step("serve", shown(self.words), self.seconds, peak_mib))


def shown(words: Sequence[str]) -> str:
    """The command as a user would type it."""
    return shlex.join(["bionemo-ext", *words])


def _wait(process: subprocess.Popen[str]) -> float:
    """Wait for a process; MiB of the largest one among it and its own children."""
    if process.returncode is not None:
        return 0.0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _pass_on(lines: IO[str]) -> None:
    for line in lines:
        print(line, end="", flush=True)
