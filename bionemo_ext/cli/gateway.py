"""``bionemo-ext gateway``."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from bionemo_ext.cli.extras import needs


def gateway(
    url: Annotated[
        str,
        typer.Option(
            envvar="BIONEMO_EXT_URL",
            help="Server: grpc://HOST:PORT, grpcs://, http:// or https://; several with commas.",
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A further name of a model in paths, esm2-650m=esm2_650m; may be given often. "
            "Every model has its own name, with - for _.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that callers must send as Authorization: Bearer."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="BIONEMO_EXT_GATEWAY_TOKEN",
            help="The token itself. A command line is seen by others: set the variable.",
        ),
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Authorities to believe for a grpcs:// server, PEM.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="The gateway's certificate for the server, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of --tls-cert, PEM.")] = None,
    server_token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token to send to the server; else the variable BIONEMO_EXT_TOKEN."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for the server's answer, retries included.")
    ] = 120,
    under_way: Annotated[
        int, typer.Option(min=1, help="Requests answered at once; each holds its answer in memory.")
    ] = 4,
    waiting: Annotated[
        int, typer.Option(min=0, help="Requests that may wait for their turn; more get 429.")
    ] = 64,
    max_body_kib: Annotated[
        int, typer.Option(min=1, help="Larger requests get 413, in KiB.")
    ] = 1024,
    drain_s: Annotated[
        int, typer.Option(min=0, help="Seconds that requests under way get when it ends.")
    ] = 30,
    log_level: Annotated[
        Literal["error", "warning", "info"], typer.Option(help="How much to log, as JSON lines.")
    ] = "info",
    as_json: Annotated[
        bool, typer.Option("--json", help="Say what happens as JSON lines.")
    ] = False,
) -> None:
    """Serve the HTTP routes that ESM-2 callers know, and a page to look at one protein.

    It asks a server that `bionemo-ext serve` started, which may come later.
    """
    with needs("gateway"):
        from bionemo_ext.gateway import Settings, create_app
        from bionemo_ext.gateway.run import run
        from bionemo_ext.gateway.settings import parse_aliases
    from bionemo_ext.client import AsyncClient
    from bionemo_ext.client.options import access_words, read_token
    from bionemo_ext.contract import DEFAULT_MODEL

    access = access_words(
        tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, token_file=server_token_file
    )
    settings = Settings(
        aliases=parse_aliases(models or []),
        token=read_token(token_file) if token_file else token,
        max_body_bytes=max_body_kib * 1024,
        under_way=under_way,
        waiting=waiting,
    )

    def ready(address: str) -> None:
        if as_json:
            typer.echo(json.dumps({"event": "ready", "url": address, "server": url}))
        else:
            typer.echo(f"ready: {address}")
        sys.stdout.flush()

    def connect(model: str | None) -> AsyncClient:
        return AsyncClient(url, timeout_s=timeout, model=model or DEFAULT_MODEL, **access)

    run(create_app(connect, settings), host, port, drain_s, log_level, ready)
