"""20,000 real proteins through the 8M model, with everything that can stop it on the way.

``BIONEMO_EXT_BULK_PROTEINS`` takes fewer. With ``-s`` the figures are shown.
"""

import csv
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from bulk_run import BulkRun, rss_mib
from operating import free_ports

from bionemo_ext.client.jobs.parts import count_part
from bionemo_ext.export import export
from bionemo_ext.huggingface import ESM2Config, write_folder
from bionemo_ext.huggingface.shapes import constants, shapes
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.sequences import read_fasta
from bionemo_ext.serving.listening import is_ready

pytestmark = [pytest.mark.server, pytest.mark.slow]

COUNT = int(os.environ.get("BIONEMO_EXT_BULK_PROTEINS", "20000"))
CHECKED = 200
# Twice as fast as float32 where the processor has it, and as exact: what a packed pass gives for a
# protein does not depend on its neighbours.
DTYPE = "bfloat16"
# Shares of the records at which something ends: the command by a signal, or the server.
ENDS = (
    (0.05, signal.SIGINT), (0.12, signal.SIGKILL), (0.2, "server"), (0.35, signal.SIGKILL),
    (0.5, signal.SIGINT), (0.65, "server"), (0.8, signal.SIGTERM),
)  # fmt: skip


class Server:
    """``bionemo-ext serve`` that is killed and comes back at the same ports."""

    def __init__(self, repository, log):
        self._grpc, self._http, self._metrics = free_ports(3)
        self.url = f"grpc://127.0.0.1:{self._grpc}"
        self._repository, self._log = repository, log
        self.start()

    def start(self):
        ports = {"grpc": self._grpc, "http": self._http, "metrics": self._metrics}
        words = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bionemo_ext", "serve", self._repository, *words],
            stdout=self._log, stderr=self._log, env={**os.environ, "OMP_NUM_THREADS": "2"},
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def wait(self):
        deadline = time.monotonic() + 120
        while not is_ready("127.0.0.1", self._http):
            assert time.monotonic() < deadline, "the server does not become ready"
            time.sleep(0.2)

    def kill(self):
        self.process.kill()
        self.process.wait()
        while not free(self._grpc):  # tritonserver notices that it is alone, and ends
            time.sleep(0.1)
        self.start()

    def memory(self):
        """MiB of everything below it."""
        tree, found = {self.process.pid}, set()
        while tree:
            found |= tree
            tree = {pid for parent in tree for pid in children(parent)} - found
        return sum(map(rss_mib, found))


def free(port):
    with socket.socket() as probe:
        # As servers do: connections that have ended hold a port for another minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def children(pid):
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("8m") / "encoder"
    torch.manual_seed(0)
    config = ESM2Config(layers=6, hidden=320, heads=20)
    state = {name: 0.02 * torch.randn(shape) for name, shape in shapes(config).items()}
    write_folder(folder, config, state | constants(config, torch.float32))
    export(folder, folder.parent / "out", dtype=DTYPE)
    return folder


@pytest.fixture(scope="module")
def proteins(shared_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("proteins") / "proteins.fasta"
    records = read_fasta(shared_data / "uniprot" / "uniprot_20k.fasta.gz")
    with path.open("w") as file:
        file.writelines(f">{r.name}\n{r.sequence}\n" for r in islice(records, COUNT))
    return path


class Watch:
    """Samples the memory of command and server every two seconds."""

    def __init__(self, server, path):
        self.run, self.rows, self._server, self._path = None, [], server, path
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self):
        began = time.monotonic()
        with self._path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("seconds", "command_mib", "server_mib", "parts"))
            while not self._end.wait(2):
                run = self.run
                if run is None:
                    continue
                row = (time.monotonic() - began, rss_mib(run.process.pid), self._server.memory())
                self.rows.append((*row, run.parts))
                table.writerow([round(value, 1) for value in self.rows[-1]])
                file.flush()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._end.set()
        self._thread.join()


def kept(folder):
    return sum(map(count_part, sorted(folder.glob("*.arrow"))))


def test_twenty_thousand_proteins(encoder_folder, proteins, tmp_path):
    out, log = tmp_path / "x.npz", (tmp_path / "serve.log").open("w")
    folder = tmp_path / ".x.npz.parts"
    server = Server(encoder_folder.parent / "out" / "triton", log)
    began = time.monotonic()
    server.wait()
    run = BulkRun(proteins, server.url, out)
    try:
        with Watch(server, tmp_path / "memory.csv") as watch:
            watch.run = run
            for share, end in ENDS:
                while kept(folder) < share * COUNT:
                    assert run.process.poll() is None, run.process.communicate()
                    time.sleep(0.5)
                print(f"{time.monotonic() - began:7.0f} s: {kept(folder):,} kept, then {end!r}")
                if end == "server":
                    server.kill()
                    continue
                run.stop(end)
                watch.run = run = BulkRun(proteins, server.url, out)
            summary = run.summary(within_s=3600, truncated=True)
    finally:
        run.process.kill()
        server.process.terminate()
        server.process.wait()
    answered = summary["records"] - summary["resumed"]
    print(f"{time.monotonic() - began:.0f} s in all, {answered:,} by the last run: {summary}")
    assert summary["peak_mib"] < 400
    report(watch.rows)
    check(out, proteins, encoder_folder)


def report(rows):
    """Print the memory over time, and hold it flat: the second half is no larger than the first."""
    _, command, server, _ = np.array(rows).T
    for name, values in (("command", command), ("server", server)):
        tenths = [part.max() for part in np.array_split(values, 10)]
        print(f"{name} MiB, most of each tenth: {' '.join(f'{value:.0f}' for value in tenths)}")
        half = len(values) // 2
        assert values[half:].max() < 1.15 * values[:half].max() + 32


def check(out, proteins, encoder_folder):
    """Every protein once, in order; the numbers of some of them are the encoder's own."""
    data = np.load(out)
    records = list(read_fasta(proteins))
    assert data["names"].tolist() == [record.name for record in records]
    assert data["lengths"].tolist() == [len(record.sequence) for record in records]
    chosen = np.random.default_rng(0).choice(len(records), min(CHECKED, len(records)), False)
    sequences = [records[i].sequence[:1022] for i in chosen]
    expected = np.zeros((len(chosen), 320), dtype=np.float32)
    for indices, encoded in Encoder.load(encoder_folder, DTYPE).embed(sequences, 8192):
        expected[indices] = encoded.mean().float().numpy()
    np.testing.assert_allclose(data["embeddings"][chosen], expected, rtol=0, atol=1e-5)
