"""The gateway as a process: it listens, logs JSON lines, and ends without cutting anyone off."""

import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from bionemo_ext.errors import RunError


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, what happened, and the fields that came along."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def run(
    app: FastAPI, host: str, port: int, drain_s: int, level: str, on_ready: Callable[[str], None]
) -> None:
    """Serve ``app`` until SIGTERM or Ctrl-C.

    Parameters
    ----------
    app : FastAPI
        The application.
    host : str
        Address to listen on.
    port : int
        Port; 0 takes a free one.
    drain_s : int
        Seconds that requests under way get when it ends.
    level : str
        How much is logged.
    on_ready : callable
        Gets the address once it listens.

    Raises
    ------
    RunError
        If it cannot listen there.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("bionemo_ext.gateway").setLevel(level.upper())
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=drain_s,
    )
    server = _Server(config, on_ready)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ended)  # uvicorn's own while it runs; raised once more at its end
    server.run(sockets=[_listening(host, port)])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        # Python names the address once more, in brackets.
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise RunError(f"cannot listen on {host}:{port}: {reason}") from None


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _ended(number: int, frame: FrameType | None) -> None:
    """Uvicorn has ended as it should: the exit code is 0."""
