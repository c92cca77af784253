"""Addresses of servers: ``grpc://host:port`` and its kin, one or several."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from bionemo_ext.errors import InputError

# Scheme to (whether it is gRPC, whether it is TLS).
_SCHEMES = {
    "grpc": (True, False),
    "grpcs": (True, True),
    "http": (False, False),
    "https": (False, True),
}
_URL = re.compile(
    r"(?P<scheme>grpcs?|https?)://(?P<host>\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+):(?P<port>\d{1,5})/?"
)
EXAMPLE = "grpc://127.0.0.1:8001"


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Parameters
    ----------
    scheme : {"grpc", "grpcs", "http", "https"}
        Protocol; those that end in ``s`` are encrypted.
    host : str
        A name or an IP address, an IPv6 address without brackets.
    port : int
        The port.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``grpc://host:port``, ``grpcs://``, ``http://`` or ``https://``.

        Raises
        ------
        InputError
            If the address is of another form.
        """
        match = _URL.fullmatch(url)
        if match is not None and 0 < int(match["port"]) < 65536:
            host = match["host"].strip("[]")
            if host == match["host"] or _is_ipv6(host):
                return cls(match["scheme"], host, int(match["port"]))
        raise InputError(f"{url!r} is not an address of the server; it looks like {EXAMPLE}")

    @property
    def is_grpc(self) -> bool:
        """Whether the protocol is gRPC and not HTTP."""
        return _SCHEMES[self.scheme][0]

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return _SCHEMES[self.scheme][1]

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host where it is an IP address and not a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether the connection stays on this machine."""
        return self.ip.is_loopback if self.ip else self.host.lower() == "localhost"

    @property
    def keeps_name(self) -> bool:
        """Whether the host is connected to as it is, not by each of the addresses of its name.

        Over HTTPS the certificate must have the name that is connected to.
        """
        return self.ip is not None or self.scheme == "https"

    @property
    def target(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}"


def parse_addresses(urls: str | Iterable[str]) -> tuple[Address, ...]:
    """Read one address, several separated by commas, or several in a list; each is kept once.

    Raises
    ------
    InputError
        If there is none, or one is of another form.
    """
    texts = urls.split(",") if isinstance(urls, str) else list(urls)
    if not texts:
        raise InputError(f"the address of a server is needed; it looks like {EXAMPLE}")
    return tuple(dict.fromkeys(Address.parse(text.strip()) for text in texts))


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
