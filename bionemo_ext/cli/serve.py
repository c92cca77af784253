"""``bionemo-ext serve``."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
) -> None:
    """Serve a model repository with a real tritonserver until interrupted."""
    from bionemo_ext.serving import LocalServer, LogLevel

    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with LocalServer(
            repository,
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=metrics_port,
            threads=threads,
            log_level=LogLevel(log_level),
            on_log=lambda line: print(line, file=sys.stderr, flush=True),
        ) as server:
            typer.echo(f"ready: {server.url} ({', '.join(server.endpoints)})")
            sys.stdout.flush()
            while True:
                time.sleep(0.2)
                server.check()
    except KeyboardInterrupt:
        typer.echo("stopped")


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once is enough: a second signal must not interrupt the cleaning up.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt
