"""``bionemo-ext gateway`` as a process."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

PATIENCE_S = 120
TOKEN = "correct-horse-battery"  # noqa: S105 (of tests)


@dataclass(frozen=True)
class Running:
    """A gateway that listens."""

    url: str
    process: subprocess.Popen
    log_file: Path

    def get(self, path, **words):
        return requests.get(f"{self.url}{path}", timeout=PATIENCE_S, **words)

    def post(self, path, body=None, **words):
        return requests.post(f"{self.url}{path}", json=body, timeout=PATIENCE_S, **words)

    def log(self):
        """What it logged so far."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]


@contextmanager
def running(log_file, server_url, *options, **variables):
    """Run the command on a free port until the block ends; SIGTERM must end it with 0."""
    command = [sys.executable, "-m", "bionemo_ext", "gateway", "--url", server_url, "--port", "0"]
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [*command, "--json", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        )
    try:
        line = process.stdout.readline()
        assert line, log_file.read_text()
        yield Running(json.loads(line)["url"], process, log_file)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
