"""Minutes of mixed requests, good and bad: the server's memory does not grow.

``BIONEMO_EXT_SOAK_S=180 pytest -m slow tests/server/test_soak.py -s`` shortens it.
"""

import os
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bionemo_ext.client import Client, Retry
from bionemo_ext.errors import DeadlineError, RequestError
from bionemo_ext.serving import LocalServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

SECONDS = float(os.environ.get("BIONEMO_EXT_SOAK_S", "600"))
# glibc's arenas and Triton's pools fill in the first part.
SETTLED = 0.3
GROWTH = 0.05
SLACK_MIB = 16.0
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def memory(server):
    """MiB by process: memory of its own, and of all shared regions together."""
    found = {"tritonserver": anonymous(server.pid)}
    found |= {worker.model: anonymous(worker.pid) for worker in server.workers}
    regions = Path("/dev/shm").glob(f"{server._shm_prefix}*")  # noqa: S108
    found["shared"] = sum(path.stat().st_blocks * 512 for path in regions) / 2**20
    return found


def anonymous(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def ask(connection, hurried, rng):
    """One request: mostly good, of any size and output; sometimes bad, sometimes given up."""
    sequences = ["".join(rng.choices(LETTERS, k=rng.randint(1, 1022)))] * rng.randint(1, 4)
    sequences += ["".join(rng.choices(LETTERS, k=50)) for _ in range(rng.randint(0, 30))]
    kind = rng.random()
    if kind < 0.1:
        with pytest.raises(RequestError):
            connection.infer("esm2_embed", [*sequences, "MK1"], ["mean"])
    elif kind < 0.15:
        with suppress(DeadlineError):
            hurried.infer("esm2_embed", sequences, ["residues"])
    elif kind < 0.5:
        task = rng.choice(["fold", "place", "sites", "adapted", "trained"])
        connection.infer(task, sequences, ["prediction"])
    else:
        outputs = rng.sample(["mean", "cls", "max", "residues", "logits", "length"], 2)
        arrays = connection.infer("esm2_embed", sequences, outputs)
        assert all(len(arrays[name]) == len(sequences) for name in outputs)


def test_memory_does_not_grow(exported):
    errors, counts = [], [0] * 4
    with LocalServer(exported.repository, threads=1) as server:
        end = time.monotonic() + SECONDS

        def run(index):
            rng = random.Random(index)
            connection, hurried = (
                Client(server.url, timeout_s=limit_s, retry=Retry.NONE) for limit_s in (120, 0.01)
            )
            try:
                while time.monotonic() < end:
                    ask(connection, hurried, rng)
                    counts[index] += 1
            except BaseException as error:  # the test fails with it, from its own thread
                errors.append(error)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(counts))]
        for thread in threads:
            thread.start()
        samples = []
        while any(thread.is_alive() for thread in threads):
            time.sleep(min(5, SECONDS / 20))
            samples.append(memory(server))
        for thread in threads:
            thread.join()
        server.check()
    assert not errors, errors[0]
    later = samples[int(SETTLED * len(samples)) :]
    half = len(later) // 2
    print(f"\n{sum(counts)} requests in {SECONDS:.0f} s; least MiB in its halves after the start:")
    grown = []
    for name in samples[-1]:
        # The least, because what is under way comes and goes; a leak raises it.
        before, after = (min(s[name] for s in part) for part in (later[:half], later[half:]))
        print(f"  {name:<28} {before:8.1f} {after:8.1f}")
        if after > before * (1 + GROWTH) + SLACK_MIB:
            grown.append(f"{name}: {before:.1f} -> {after:.1f} MiB")
    assert not grown, grown
