"""``bionemo-ext embed`` in the background, to be stopped at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

AMINO_ACIDS = list("ACDEFGHIKLMNPQRSTVWY")


def random_proteins(path, count, shortest=10, longest=30):
    """Write a FASTA of proteins with no meaning, the same each time."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for index in range(count):
            letters = rng.choice(AMINO_ACIDS, rng.integers(shortest, longest))
            file.write(f">p{index}\n{''.join(letters)}\n")
    return path


def sequences_answered(url):
    """Sequences that the encoder's endpoint has answered, once what is under way has ended."""
    with triton.InferenceServerClient(url.removeprefix("grpc://")) as connection:
        before = -1
        while True:
            now = connection.get_inference_statistics("esm2_embed").model_stats[0].inference_count
            if now == before:
                return now
            before = now
            time.sleep(0.5)


def rss_mib(pid):
    """Memory of a process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


class BulkRun:
    """One run of the command; ``parts`` is how many it has finished."""

    def __init__(self, fasta, url, out, *words):
        self._folder = out.with_name(f".{out.name}.parts")
        command = ["embed", fasta, "--url", url, "--out", out, "--json", *words]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bionemo_ext", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        )

    @property
    def parts(self):
        return len(list(self._folder.glob("*.arrow")))

    def wait_for_parts(self, count, within_s=120):
        """Wait until there are so many; fails if the run ends before."""
        deadline = time.monotonic() + within_s
        while self.parts < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, f"{self.parts} parts in {within_s} s"
            time.sleep(0.01)

    def stop(self, number, within_s=60):
        """Send a signal; gives the exit code and what was said."""
        self.process.send_signal(number)
        printed, said = self.process.communicate(timeout=within_s)
        assert printed == ""
        return self.process.returncode, said

    def summary(self, within_s=600, truncated=False):
        """Wait for the end, which must be good; only a truncation may be warned of."""
        printed, said = self.process.communicate(timeout=within_s)
        warned = ["only their beginning was used" in line for line in said.splitlines()]
        assert (self.process.returncode, warned) == (0, [True] * truncated), said
        return json.loads(printed)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
