"""Start and stop a real tritonserver on this machine."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bionemo_ext.errors import CheckpointError, RunError
from bionemo_ext.serving.binaries import TIED_TO_PARENT, Binaries, find_binaries
from bionemo_ext.serving.command import Control, LogLevel, Policy, command_line
from bionemo_ext.serving.diagnosis import why_it_ended, why_nothing_starts
from bionemo_ext.serving.listening import choose_ports, is_ready
from bionemo_ext.serving.workers import Worker, workers_of

_SHM = Path("/dev/shm")  # noqa: S108 (the place where POSIX shared memory lives)
# What Triton calls its regions by default; ours add a word of their own, so that cleaning up
# after one server never touches another's.
_SHM_PREFIX = "triton_python_backend_shm_region_"
_HARMLESS = "CudaDriverHelper has not been initialized"
# What tritonserver may take to unload its models once nothing is under way any more.
_UNLOAD_S = 5
_KEPT_LINES = 400


class LocalServer:
    """A tritonserver process that ends with the block, or with the program that started it.

    Parameters
    ----------
    repository : Path
        The model repository, as ``bionemo-ext export`` writes it; it is only read.
    host : str
        Address to listen on.
    grpc_port, http_port, metrics_port : int, optional
        A free port is taken where none is given.
    threads : int, optional
        Threads of a model process.
    log_level : LogLevel
        What ``on_log`` gets to see.
    policy : Policy, optional
        What clients may do, and how the server ends.
    on_log : callable, optional
        Called with each line of the log.
    startup_s : float
        How long the models may take to load.

    Notes
    -----
    The server also ends when the *thread* that started it ends, which is how Linux tells a
    process that its parent died; start it from a thread that stays.

    Examples
    --------
    >>> with LocalServer(Path("exported/triton")) as server:  # doctest: +SKIP
    ...     Client(server.url).embed(["MKTVRQG"])
    """

    def __init__(
        self,
        repository: str | Path,
        *,
        host: str = "127.0.0.1",
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        threads: int | None = None,
        log_level: LogLevel = LogLevel.WARNING,
        policy: Policy | None = None,
        on_log: Callable[[str], None] | None = None,
        startup_s: float = 600,
    ) -> None:
        self.repository = Path(repository)
        self.host = host
        self.ports: Mapping[str, int | None] = {
            "grpc": grpc_port,
            "http": http_port,
            "metrics": metrics_port,
        }
        self.threads = threads
        self.log_level = log_level
        self.policy = policy or Policy()
        self.startup_s = startup_s
        self._on_log = on_log or (lambda line: None)
        self._log: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._folder: Path | None = None
        self._workers: list[Worker] = []
        self._shm_prefix = f"{_SHM_PREFIX}{uuid.uuid4().hex[:12]}_"

    @property
    def url(self) -> str:
        """Address for :class:`bionemo_ext.client.Client`."""
        return f"grpc://{self._at('grpc')}"

    @property
    def health_url(self) -> str:
        """Where HTTP answers 200 while every model is ready."""
        return f"http://{self._at('http')}/v2/health/ready"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds metrics."""
        return f"http://{self._at('metrics')}/metrics"

    @property
    def endpoints(self) -> list[str]:
        """Names of the models in the repository."""
        return sorted(path.parent.name for path in self.repository.glob("*/config.pbtxt"))

    @property
    def log(self) -> list[str]:
        """The last lines of the server's log."""
        return list(self._log)

    @property
    def pid(self) -> int | None:
        """Process id of the server while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def workers(self) -> list[Worker]:
        """The processes that run the models' code."""
        return workers_of(self.pid) if self.pid is not None else []

    def start(self) -> Self:
        """Start and wait until every model is ready.

        Raises
        ------
        CheckpointError
            If there is no model repository.
        RunError
            If a port is taken, a model does not load, or the server ends or is not ready in time.
        """
        binaries = self._find()
        self.ports = choose_ports(self.host, self.ports)
        self._folder = Path(tempfile.mkdtemp(prefix="bionemo-ext-triton-"))
        try:
            binaries.make_backends(self._folder)
            self._launch(self._command(binaries, self._folder), binaries)
            self._wait_ready()
        except BaseException:
            self._end(in_order=False)
            raise
        self._workers = self.workers
        return self

    def stop(self) -> None:
        """End the server and remove what it left: processes, shared memory, temporary files.

        It takes no more requests, answers those under way for as long as the policy says, and ends.
        """
        self._end(in_order=True)

    def restart(self) -> None:
        """End the server at once and start it again at the same ports.

        Not in order: Triton would wait for a worker that died as long as the policy lets it drain.
        Errors are those of :meth:`start`.
        """
        self._end(in_order=False)
        self._log.clear()
        self.start()

    def check(self) -> None:
        """Raise if the server ended by itself, or one of its workers died or was stopped.

        Triton goes on without the worker and calls itself ready; a :meth:`restart` mends it.

        Raises
        ------
        RunError
            With the last error of the server's log, or the worker's model.
        """
        if self._process is None:
            return
        if self._process.poll() is not None:
            if self._reader is not None:
                self._reader.join(timeout=5)
            raise RunError(why_it_ended(self.log, self._process.returncode))
        if Control.MODEL_CONTROL in self.policy.opened:  # workers come and go
            kept = [worker for worker in self._workers if worker.exists]
            self._workers = list({w.pid: w for w in [*self.workers, *kept]}.values())
        for worker in self._workers:
            if not worker.alive:
                raise RunError(
                    f"the worker of {worker.model!r} (process {worker.pid}) died or was stopped"
                )

    def command(self) -> list[str]:
        """Write the command line that :meth:`start` would run.

        Raises
        ------
        CheckpointError
            If there is no model repository.
        RunError
            If there is no tritonserver here.
        """
        binaries = self._find()
        return self._command(binaries, binaries.backends)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _end(self, in_order: bool) -> None:
        process = self._process
        if process is not None:
            # One that lost a worker would wait for it as long as it may.
            in_order = in_order and all(worker.alive for worker in self._workers)
            if in_order and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self.policy.drain_s + _UNLOAD_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._reader is not None:
            self._reader.join(timeout=5)
        for region in _SHM.glob(f"{self._shm_prefix}*"):
            region.unlink(missing_ok=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = self._reader = self._folder = None
        self._workers = []

    def _at(self, service: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.ports[service]}"

    def _find(self) -> Binaries:
        if not self.endpoints:
            raise CheckpointError(
                f"{self.repository} is not a model repository: no */config.pbtxt in it"
            )
        return find_binaries()

    def _command(self, binaries: Binaries, backends: Path) -> list[str]:
        return command_line(
            self.repository.resolve(),
            binaries.layout(backends, self._shm_prefix),
            self.host,
            self.ports,
            self.log_level,
            self.policy,
        )

    def _launch(self, command: list[str], binaries: Binaries) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-IS", "-c", TIED_TO_PARENT, str(os.getpid()), *command],
            env=binaries.environment(self.threads),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the server in order
        )
        assert self._process.stdout is not None  # noqa: S101 (for the type checker)
        self._reader = threading.Thread(
            target=self._read_log, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()

    def _read_log(self, stream: IO[str]) -> None:
        for line in stream:
            if _HARMLESS in line:
                continue
            self._log.append(line.rstrip("\n"))
            self._on_log(line.rstrip("\n"))

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.startup_s
        while not is_ready(self.host, self.ports["http"]):
            self.check()
            # tritonserver would wait for a model process that could never start.
            if reason := why_nothing_starts(self.log):
                raise RunError(reason)
            if time.monotonic() > deadline:
                raise RunError(f"the server was not ready within {self.startup_s:g} s")
            time.sleep(0.05)
