"""The command line of tritonserver: made here, run by LocalServer, printed by `serve`."""

import re
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from bionemo_ext.errors import InputError

# The header of a closed interface's key: as it stands over HTTP, with Triton's prefix over gRPC.
KEY_HEADER = "admin-key"
GRPC_KEY_HEADER = f"triton-grpc-protocol-{KEY_HEADER}"
# Others would end the option or the header early; a short key can be guessed.
_KEY = re.compile(r"[A-Za-z0-9._-]{16,}")
# Spares the log complaints about a GPU that is not there; one cannot be switched off.
_WITHOUT_GPU = ("--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0")


class LogLevel(str, Enum):
    """How much of the server's log is shown."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    VERBOSE = "verbose"


class Control(str, Enum):
    """What of Triton's interface changes the server, and is closed to clients unless opened.

    ``model-control`` loads and unloads models. A client may send files along with a load, so
    whoever may do it can run code on the server.
    """

    MODEL_CONTROL = "model-control"
    SHARED_MEMORY = "shared-memory"
    TRACE = "trace"
    LOGGING = "logging"


@dataclass(frozen=True)
class Tls:
    """Files of gRPC over TLS, all PEM.

    Parameters
    ----------
    certificate, key : Path
        The server's own, the certificate with those between it and the root.
    clients_root : Path, optional
        Who must have signed the certificates of clients; where given, a client needs one.

    Raises
    ------
    InputError
        If a file is missing, is not PEM, or certificate and key do not belong together.
    """

    certificate: Path
    key: Path
    clients_root: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.certificate, self.key, self.clients_root):
            if path is not None and not path.is_file():
                raise InputError(f"there is no file {path}, which TLS needs")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            raise InputError(
                f"{self.certificate} and {self.key} are not a PEM certificate and its private key"
                f" ({error.reason or 'unreadable'})"
            ) from None
        if self.clients_root is not None:
            try:
                context.load_verify_locations(self.clients_root)
            except ssl.SSLError:
                raise InputError(f"{self.clients_root} has no PEM certificates") from None


@dataclass(frozen=True)
class Policy:
    """What clients may do, and how the server ends.

    Parameters
    ----------
    opened : frozenset of Control
        What is open to every client.
    admin_key : str
        Opens shared memory, trace and logging to clients that send it in the header ``admin-key``
        (over gRPC ``triton-grpc-protocol-admin-key``). Drawn anew where none is given, so that
        nobody has it.
    tls : Tls, optional
        gRPC over TLS. HTTP has none in Triton: with TLS it answers health and metadata, and
        inference only with the key.
    cache_bytes : int
        Size of the cache of responses, for endpoints exported with one; 0 is none.
    drain_s : int
        How long requests under way may take once the server is told to end.

    Raises
    ------
    InputError
        If the key has letters that a header cannot have, or a number is negative.
    """

    opened: frozenset[Control] = frozenset()
    admin_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    tls: Tls | None = None
    cache_bytes: int = 0
    drain_s: int = 30

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.admin_key):
            raise InputError(
                "the admin key must have at least 16 letters, digits, '-', '_' or '.', and no other"
            )
        if min(self.cache_bytes, self.drain_s) < 0:
            raise InputError("the cache's size and the time to drain cannot be negative")

    @property
    def closed(self) -> list[str]:
        """Triton's names of the interfaces that take the key.

        Model control is not among them: the same interface tells clients which models there are.
        It is closed by the server's mode.
        """
        kept = (Control.SHARED_MEMORY, Control.TRACE, Control.LOGGING)
        return [control.value for control in kept if control not in self.opened]


@dataclass(frozen=True)
class Layout:
    """Where the parts of one server are.

    Parameters
    ----------
    server : Path
        The ``tritonserver`` binary.
    backends, caches : Path
        Folders of backends and of caches.
    shm_prefix : str
        What the names of its regions of shared memory begin with.
    has_gpu : bool
        Whether the machine has an NVIDIA driver.
    """

    server: Path
    backends: Path
    caches: Path
    shm_prefix: str
    has_gpu: bool


def command_line(
    repository: Path,
    layout: Layout,
    host: str,
    ports: Mapping[str, int | None],
    log_level: LogLevel,
    policy: Policy,
) -> list[str]:
    """Write the command line that serves ``repository``.

    Parameters
    ----------
    ports : mapping of str to int
        Of ``grpc``, ``http`` and ``metrics``.
    """
    listen = [
        option
        for service, port in ports.items()
        for option in (f"--{service}-address={host}", f"--{service}-port={port}")
    ]
    return [
        str(layout.server),
        f"--model-repository={repository}",
        f"--backend-directory={layout.backends}",
        f"--backend-config=python,shm-region-prefix-name={layout.shm_prefix}",
        "--disable-auto-complete-config",  # ours are complete; it would load models twice
        f"--exit-timeout-secs={policy.drain_s}",
        # Each object in the pool would keep the largest answer that it ever held.
        "--grpc-infer-allocation-pool-size=0",
        *listen,
        *_guards(policy),
        *_tls(policy.tls),
        *_cache(policy.cache_bytes, layout.caches),
        *_log(log_level),
        *([] if layout.has_gpu else _WITHOUT_GPU),
    ]


def _guards(policy: Policy) -> list[str]:
    if Control.MODEL_CONTROL in policy.opened:
        guards = ["--model-control-mode=explicit", "--load-model=*"]
    else:
        guards = ["--model-control-mode=none"]
    # Not over TLS, so not for sequences where TLS is asked for.
    for_http = [*policy.closed, *(["inference"] if policy.tls else [])]
    key = f"{KEY_HEADER}={policy.admin_key}"
    if policy.closed:
        guards.append(f"--grpc-restricted-protocol={','.join(policy.closed)}:{key}")
    if for_http:
        guards.append(f"--http-restricted-api={','.join(for_http)}:{key}")
    return guards


def _tls(tls: Tls | None) -> list[str]:
    if tls is None:
        return []
    files = [f"--grpc-server-cert={tls.certificate}", f"--grpc-server-key={tls.key}"]
    if tls.clients_root is None:
        return ["--grpc-use-ssl=true", *files]
    return ["--grpc-use-ssl-mutual=true", *files, f"--grpc-root-cert={tls.clients_root}"]


def _cache(size: int, folder: Path) -> list[str]:
    return [f"--cache-config=local,size={size}", f"--cache-directory={folder}"] if size else []


def _log(level: LogLevel) -> list[str]:
    rank = list(LogLevel).index(level)
    return [
        f"--log-warning={rank >= 1}".lower(),
        f"--log-info={rank >= 2}".lower(),
        f"--log-verbose={int(rank >= 3)}",
    ]
