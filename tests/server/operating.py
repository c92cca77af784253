"""``bionemo-ext serve`` as a process, and an endpoint that takes as long as it is told."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

from bionemo_ext.contract import SEQUENCE, Endpoint, TensorSpec, to_pbtxt

# Gives its input back: at once, or "sleep S" after S seconds.
ECHO = """
import time
import triton_python_backend_utils as pb_utils
from bionemo_ext.serving.pulse import never_late

@never_late
class TritonPythonModel:
    def initialize(self, args):
        pass

    def execute(self, requests):
        answers = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "sequence").as_numpy()
            for text in texts.ravel():
                if text.startswith(b"sleep"):
                    time.sleep(float(text.split()[1]))
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("out", texts)]))
        return answers
"""


def echo_repository(folder, *names):
    """A repository of endpoints that give back what they get."""
    for name in names or ("echo",):
        text = TensorSpec(SEQUENCE, "TYPE_STRING", (1,))
        endpoint = Endpoint(name, (text,), (TensorSpec("out", "TYPE_STRING", (1,)),))
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(to_pbtxt(endpoint))
        (folder / name / "1" / "model.py").write_text(ECHO)
    return folder


def connect(url, **words):
    return triton.InferenceServerClient(url.removeprefix("grpc://"), **words)


def strings(values):
    tensor = triton.InferInput(SEQUENCE, [len(values), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[value] for value in values], dtype=np.object_))
    return [tensor]


def say(client, text, endpoint="echo", **words):
    """What the echo answers."""
    return client.infer(endpoint, strings([text.encode()]), **words).as_numpy("out")[0, 0].decode()


# Runs a program that may write only where a file's mode says, be it root's. A launcher, because in
# a child that runs Python before its program grpc starts threads, and they may hold it for ever.
OBEY_MODES = """
import ctypes, os, sys
cap_dac_override, drop_from_bounding_set = 1, 24
if os.geteuid() == 0 and ctypes.CDLL(None).prctl(drop_from_bounding_set, cap_dac_override):
    sys.exit("prctl failed")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
OBEYING = (sys.executable, "-c", OBEY_MODES)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Serving:
    """``bionemo-ext serve`` in the background; ``lines`` are what it printed.

    ``python`` is the command that runs Python.
    """

    def __init__(self, repository, *words, python=(sys.executable,)):
        grpc, self.http, self.metrics = free_ports(3)
        self.url = f"grpc://127.0.0.1:{grpc}"
        ports = ["--grpc-port", grpc, "--http-port", self.http, "--metrics-port", self.metrics]
        command = [*python, "-m", "bionemo_ext", "serve", repository, *ports, *words]
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        )
        self.lines, self.errors = [], []
        self._grew = threading.Condition()
        for stream, lines in (
            (self.process.stdout, self.lines),
            (self.process.stderr, self.errors),
        ):
            threading.Thread(target=self._read, args=(stream, lines), daemon=True).start()

    def _read(self, stream, lines):
        for line in stream:
            with self._grew:
                lines.append(line.rstrip("\n"))
                self._grew.notify_all()

    def wait_for(self, start, count=1, within_s=60):
        """Wait until ``count`` lines begin with ``start``; gives the last of them."""

        def found():
            return [line for line in self.lines if line.startswith((start, f'{{"event": "{start}'))]

        with self._grew:
            if not self._grew.wait_for(lambda: len(found()) >= count, within_s):
                raise AssertionError(f"no {start!r} in {self.lines} {self.errors[-20:]}")
        return found()[-1]

    def end(self, within_s=60):
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def __enter__(self):
        try:
            self.wait_for("ready")
        except BaseException:
            self.process.kill()  # tritonserver ends with it
            raise
        return self

    def __exit__(self, *error):
        try:
            self.end()
        finally:
            self.process.kill()


def workers(serving):
    """Process ids of the workers by the name of the model, below a ``serve``."""
    found = {}
    parents = {serving.process.pid}
    for _ in range(2):  # serve, tritonserver, workers
        children = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = stat.read_text().rpartition(")")[2].split()
                command = (stat.parent / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if int(words[1]) in parents:
                children.add(int(stat.parent.name))
                if "stub" in command[0]:
                    found[command[8].rsplit("_", 2)[0]] = int(stat.parent.name)
        parents = children
    return found
