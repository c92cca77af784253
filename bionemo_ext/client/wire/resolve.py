"""Names of hosts as IP addresses."""

import asyncio
import socket
import threading

from bionemo_ext.client.wire.failures import Failure
from bionemo_ext.errors import UnavailableError


async def resolve(host: str, port: int) -> list[str]:
    """Look a name up.

    Parameters
    ----------
    host : str
        A name or an IP address.
    port : int
        Where a connection will go.

    Returns
    -------
    list of str
        IP addresses in the system's order of preference, each once.

    Raises
    ------
    Failure
        If there is none.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def look() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            _tell(loop, found, _unknown(host, error))
        else:
            _tell(loop, found, list(dict.fromkeys(str(info[4][0]) for info in infos)))

    # The loop's own executor would keep the program from ending until a slow look-up does.
    threading.Thread(target=look, name="bionemo-ext-resolve", daemon=True).start()
    return await found


def _unknown(host: str, error: OSError) -> Failure:
    detail = f"the name {host!r} has no address: {error.strerror or error}"
    return Failure(UnavailableError, detail, retry=True, answered=False)


def _tell(
    loop: asyncio.AbstractEventLoop,
    future: "asyncio.Future[list[str]]",
    outcome: list[str] | Failure,
) -> None:
    def settle() -> None:
        if future.done():
            return
        if isinstance(outcome, Failure):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    # A loop that has ended in the meantime waits for nothing.
    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
