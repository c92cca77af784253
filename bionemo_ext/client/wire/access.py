"""How a client shows who it is, and whom it believes: certificates, a token, headers."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bionemo_ext.client.wire.address import Address
from bionemo_ext.errors import InputError

_PEM = b"-----BEGIN "


@dataclass(frozen=True)
class Tls:
    """Certificates of an encrypted connection, PEM files all.

    Parameters
    ----------
    ca : path, optional
        Certificates of the authorities to believe; those of the system when not given.
    cert, key : path, optional
        The client's own certificate and its key, for a server that asks for one (mTLS).
    server_name : str, optional
        The name that must stand in the server's certificate, where it is not that of the address.

    Raises
    ------
    InputError
        If a file cannot be read or used, or only one of ``cert`` and ``key`` is given.
    """

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            have, lack = ("cert", "key") if self.key is None else ("key", "cert")
            raise InputError(
                f"the client's certificate needs both files: {have} is there, {lack} is not"
            )
        for path in (self.ca, self.cert, self.key):
            read_pem(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except ssl.SSLError as error:
            files = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path)
            raise InputError(f"{files} cannot be used: {error.reason or error}") from None


@dataclass(frozen=True)
class Access:
    """What is sent with every request, and the certificates of the connection.

    Parameters
    ----------
    tls : Tls, optional
        For encrypted addresses.
    headers : mapping of str to str
        HTTP headers or gRPC metadata, their names in lower case.
    """

    tls: Tls = field(default_factory=Tls)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        addresses: Sequence[Address],
        *,
        tls: Tls | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        insecure_token: bool = False,
    ) -> "Access":
        """Put together what the caller gave.

        Raises
        ------
        InputError
            If certificates are given for an address that is not encrypted, a token would cross the
            network in plain text, or a header cannot be sent.
        """
        plain = [address for address in addresses if not address.is_encrypted]
        if tls is not None and plain:
            raise InputError(
                f"certificates are for encrypted addresses, and {plain[0]} is not: "
                f"{plain[0].scheme}s://{plain[0].target} would be"
            )
        if tls is not None and tls.server_name and any(one.scheme == "https" for one in addresses):
            raise InputError(
                "server_name is for grpcs:// addresses; over https:// the server's certificate "
                "must have the name of the address"
            )
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if token is not None:
            heard = [address for address in plain if not address.is_loopback]
            if heard and not insecure_token:
                raise InputError(
                    f"a token would cross the network in plain text to {heard[0]}: use "
                    f"{heard[0].scheme}s://, or say insecure_token=True"
                )
            if "authorization" in sent:
                raise InputError("either a token or a header 'authorization' can be sent, not both")
            sent["authorization"] = f"Bearer {token}"
        for name, value in sent.items():
            _check_header(name, value)
        return cls(tls or Tls(), sent)


def read_pem(path: str | Path | None) -> bytes | None:
    """Read a PEM file; None for None.

    Raises
    ------
    InputError
        If it cannot be read or is no PEM.
    """
    if path is None:
        return None
    try:
        found = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if _PEM not in found:
        raise InputError(
            f"{path} is not a PEM file, which has a line that begins with {_PEM.decode()}"
        )
    return found


def _check_header(name: str, value: str) -> None:
    letters = name.replace("-", "").replace("_", "").replace(".", "")
    if not (letters.isascii() and letters.isalnum()) or name.endswith("-bin"):
        raise InputError(
            f"{name!r} cannot be the name of a header: letters, digits, '-', '_' and '.', and not "
            "'-bin' at its end"
        )
    if not (value.isascii() and value.isprintable()) or value != value.strip() or not value:
        what = "the token" if name == "authorization" else f"the header {name!r}"
        raise InputError(
            f"{what} cannot be sent: it must be printable ASCII without space at its ends"
        )
