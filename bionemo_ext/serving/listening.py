"""Ports to listen on, and whether anybody answers there."""

import http.client
import socket
from collections.abc import Mapping

from bionemo_ext.errors import RunError


def choose_ports(host: str, ports: Mapping[str, int | None]) -> dict[str, int | None]:
    """Take a free port for each service that has none, and see that the others are free.

    Raises
    ------
    RunError
        If a port is taken, or the address is not one of this machine.
    """
    held: list[socket.socket] = []
    chosen: dict[str, int | None] = {}
    try:
        for service, port in ports.items():
            listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            held.append(listener)  # kept until all are chosen, so that they differ
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port or 0))
            except OSError as error:
                raise RunError(
                    f"cannot listen on {host}:{port} for {service}: {error.strerror}; "
                    f"give another port with --{service}-port"
                ) from None
            chosen[service] = listener.getsockname()[1]
    finally:
        for listener in held:
            listener.close()
    return chosen


def is_ready(host: str, http_port: int | None) -> bool:
    """Whether a server answers over HTTP that all its models are ready."""
    connection = http.client.HTTPConnection(host, http_port or 0, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
