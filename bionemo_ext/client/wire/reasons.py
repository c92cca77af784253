"""Why no server was reached, from what gRPC, aiohttp and OpenSSL say of it."""

import re

from bionemo_ext.client.wire.access import Tls
from bionemo_ext.client.wire.address import Address
from bionemo_ext.client.wire.failures import Failure, one_line
from bionemo_ext.errors import UnavailableError

# Nothing of these mends while one waits: text of a library, and what it means.
_PERMANENT = (
    (
        r"certificate.verify.failed.*(expired|not yet valid)",
        "its certificate has expired or is not valid yet",
    ),
    (
        r"hostname verification|hostname mismatch|not valid for",
        "its certificate is for another name than that of the address",
    ),
    (
        r"certificate.verify.failed",
        "its certificate is not signed by an authority that this client believes",
    ),
    (r"wrong_version_number|record layer failure", "it does not speak TLS"),
    (r"bad status line", "it does not speak HTTP"),
    (r"security handshaker", "the client's certificates cannot be used"),
)
_REFUSED = re.compile(r"connection refused|connect call failed", re.IGNORECASE)
_CLOSED = re.compile(
    r"socket closed|server disconnected|connection reset|broken pipe|end of tcp stream|\[none\]",
    re.IGNORECASE,
)


def unreachable(message: str, address: Address, tls: Tls, *, reached: bool) -> Failure:
    """Say why no server was reached: a connection that failed or ended, or a handshake that did.

    Parameters
    ----------
    message : str
        What a library said.
    address : Address
        Where to.
    tls : Tls
        With what certificates.
    reached : bool
        Whether the server has answered before, so that the protocol is right.
    """
    detail = one_line(message)
    for sign, meaning in _PERMANENT:
        if re.search(sign, detail, re.IGNORECASE):
            return Failure(UnavailableError, meaning, lost=True, answered=False)
    if _REFUSED.search(detail):
        detail = "connection refused, nobody listens there"
    elif _CLOSED.search(detail):
        detail = "it closed the connection" + ("" if reached else f", {_guess(address, tls)}")
    return Failure(UnavailableError, detail, retry=True, lost=True, answered=False)


def _guess(address: Address, tls: Tls) -> str:
    """Say why a server may close a connection before its first answer."""
    if not address.is_encrypted:
        return f"it may speak TLS ({address.scheme}s://) or another protocol than {address.scheme}"
    if tls.cert is None:
        return "it may ask for a certificate of the client, or not speak TLS"
    return "it may not believe the client's certificate, or not speak TLS"
