"""Start and stop a real tritonserver on this machine."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bionemo_ext.errors import CheckpointError, RunError
from bionemo_ext.serving.binaries import TIED_TO_PARENT, find_binaries
from bionemo_ext.serving.diagnosis import why_it_ended, why_nothing_starts

_SHM = Path("/dev/shm")  # noqa: S108 (the place where POSIX shared memory lives)
# What Triton calls its regions by default; ours add a word of their own, so that cleaning up
# after one server never touches another's.
_SHM_PREFIX = "triton_python_backend_shm_region_"
_NVIDIA_DRIVER = Path("/dev/nvidiactl")
# Spares the log complaints about a GPU that is not there; one cannot be switched off.
_WITHOUT_GPU = ("--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0")
_HARMLESS = "CudaDriverHelper has not been initialized"
_STOP_S = 20
_KEPT_LINES = 400


class LogLevel(str, Enum):
    """How much of the server's log is shown."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    VERBOSE = "verbose"

    @property
    def arguments(self) -> list[str]:
        """Options of tritonserver for this level."""
        rank = list(LogLevel).index(self)
        return [
            f"--log-warning={rank >= 1}".lower(),
            f"--log-info={rank >= 2}".lower(),
            f"--log-verbose={int(rank >= 3)}",
        ]


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
        on_log: Callable[[str], None] | None = None,
        startup_s: float = 600,
    ) -> None:
        self.repository = Path(repository)
        self.host = host
        self.ports = {"grpc": grpc_port, "http": http_port, "metrics": metrics_port}
        self.threads = threads
        self.log_level = log_level
        self.startup_s = startup_s
        self._on_log = on_log or (lambda line: None)
        self._log: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._folder: Path | None = None
        self._shm_prefix = f"{_SHM_PREFIX}{uuid.uuid4().hex[:12]}_"

    @property
    def url(self) -> str:
        """Address for :class:`bionemo_ext.client.Client`."""
        return f"grpc://{self.host}:{self.ports['grpc']}"

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

    def start(self) -> Self:
        """Start and wait until every model is ready.

        Raises
        ------
        CheckpointError
            If there is no model repository.
        RunError
            If a port is taken, a model does not load, or the server ends or is not ready in time.
        """
        if not self.endpoints:
            raise CheckpointError(
                f"{self.repository} is not a model repository: no */config.pbtxt in it"
            )
        binaries = find_binaries()
        self._choose_ports()
        self._folder = Path(tempfile.mkdtemp(prefix="bionemo-ext-triton-"))
        try:
            binaries.make_backends(self._folder)
            command = [str(binaries.server), *self._arguments()]
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
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove what it left: processes, shared memory, temporary files."""
        process = self._process
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_S)
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

    def check(self) -> None:
        """Raise if the server has ended by itself.

        Raises
        ------
        RunError
            With the last error of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            if self._reader is not None:
                self._reader.join(timeout=5)
            raise RunError(why_it_ended(self.log, self._process.returncode))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _arguments(self) -> list[str]:
        addresses = [
            option
            for service, port in self.ports.items()
            for option in (f"--{service}-address={self.host}", f"--{service}-port={port}")
        ]
        return [
            f"--model-repository={self.repository.resolve()}",
            f"--backend-directory={self._folder}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            "--model-control-mode=none",
            "--disable-auto-complete-config",  # ours are complete; it would load models twice
            f"--exit-timeout-secs={_STOP_S // 2}",
            *addresses,
            *self.log_level.arguments,
            *([] if _NVIDIA_DRIVER.exists() else _WITHOUT_GPU),
        ]

    def _choose_ports(self) -> None:
        held = []
        try:
            for service, port in self.ports.items():
                listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
                held.append(listener)  # kept until all are chosen, so that they differ
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind((self.host, port or 0))
                except OSError as error:
                    raise RunError(
                        f"cannot listen on {self.host}:{port} for {service}: {error.strerror}; "
                        f"give another port with --{service}-port"
                    ) from None
                self.ports[service] = listener.getsockname()[1]
        finally:
            for listener in held:
                listener.close()

    def _read_log(self, stream: IO[str]) -> None:
        for line in stream:
            if _HARMLESS in line and not _NVIDIA_DRIVER.exists():
                continue
            self._log.append(line.rstrip("\n"))
            self._on_log(line.rstrip("\n"))

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.startup_s
        while not self._answers():
            self.check()
            # tritonserver would wait for a model process that could never start.
            if reason := why_nothing_starts(self.log):
                raise RunError(reason)
            if time.monotonic() > deadline:
                raise RunError(f"the server was not ready within {self.startup_s:g} s")
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.ports["http"] or 0, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
