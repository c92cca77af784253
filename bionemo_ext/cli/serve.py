"""``bionemo-ext serve``."""

import json
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bionemo_ext.cli.extras import needs
from bionemo_ext.errors import InputError
from bionemo_ext.serving.command import Control

if TYPE_CHECKING:
    from bionemo_ext.serving import LocalServer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KEY_VARIABLE = "BIONEMO_EXT_ADMIN_KEY"
_MIB = 2**20


def serve(
    repository: Annotated[Path, typer.Argument(help="Model repository, OUT/triton of `export`.")],
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for the client.")] = 8001,
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for HTTP.")] = 8000,
    metrics_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port for Prometheus.")
    ] = 8002,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the encoder; default: all cores.")
    ] = None,
    log_level: Annotated[
        Literal["error", "warning", "info", "verbose"],
        typer.Option(help="How much of the server's log to show."),
    ] = "warning",
    opened: Annotated[
        list[Control] | None,
        typer.Option("--open", help="Open to every client what is closed; may be given often."),
    ] = None,
    admin_key: Annotated[
        str | None,
        typer.Option(
            envvar=_KEY_VARIABLE,
            help="Opens shared memory, trace and logging to clients that send it. A command line "
            "is seen by others: set the variable.",
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="gRPC over TLS: certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of --tls-cert, PEM.")] = None,
    tls_clients: Annotated[
        Path | None, typer.Option(help="Clients need a certificate that this one, PEM, signed.")
    ] = None,
    cache_mib: Annotated[
        int, typer.Option(min=0, help="Cache of responses, in MiB; 0 is none.")
    ] = 0,
    drain_s: Annotated[
        int, typer.Option(min=0, help="Seconds that requests under way get when it ends.")
    ] = 30,
    print_command: Annotated[
        bool, typer.Option("--print-command", help="Print tritonserver's command line and end.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="JSON lines: what happens, and on standard error the log."),
    ] = False,
) -> None:
    """Serve a model repository with a real tritonserver until interrupted.

    A server that ends, or that lost a model's process, is started again.
    """
    with needs("serve"):
        from bionemo_ext.serving import LocalServer, LogLevel, Policy, Tls, keep_running
        from bionemo_ext.serving.log_lines import as_json as as_json_line

    if (tls_cert is None) != (tls_key is None) or (tls_clients and not tls_cert):
        raise InputError("TLS needs both --tls-cert and --tls-key")
    policy = Policy(
        opened=frozenset(opened or ()),
        tls=Tls(tls_cert, tls_key, tls_clients) if tls_cert and tls_key else None,
        cache_bytes=cache_mib * _MIB,
        drain_s=drain_s,
        **({"admin_key": admin_key} if admin_key else {}),
    )
    server = LocalServer(
        repository,
        host=host,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        threads=threads,
        log_level=LogLevel(log_level),
        policy=policy,
        on_log=lambda line: print(
            as_json_line(line) if as_json else line, file=sys.stderr, flush=True
        ),
    )
    if print_command:
        typer.echo(shlex.join(server.command()).replace(policy.admin_key, f"${_KEY_VARIABLE}"))
        return

    def ready() -> None:
        if not as_json:
            typer.echo(f"health: {server.health_url}, metrics: {server.metrics_url}", err=True)
        _say(as_json, "ready", _facts(server), f"{server.url} ({', '.join(server.endpoints)})")

    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with server:
            ready()
            keep_running(server, lambda f: _say(as_json, "fault", {"reason": f}, f), ready)
    except KeyboardInterrupt:
        _say(as_json, "stopped", {})


def _facts(server: "LocalServer") -> dict[str, object]:
    return {
        "url": server.url,
        "health": server.health_url,
        "metrics": server.metrics_url,
        "endpoints": server.endpoints,
    }


def _say(as_json: bool, event: str, facts: dict[str, object], words: str = "") -> None:
    if as_json:
        typer.echo(json.dumps({"event": event, **facts}))
    else:
        typer.echo(f"{event}: {words}" if words else event)
    sys.stdout.flush()


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once is enough: a second signal must not interrupt the cleaning up.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt
