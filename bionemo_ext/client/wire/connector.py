"""Which protocol an address speaks."""

from collections.abc import Callable, Sequence

from bionemo_ext.client.wire.access import Access
from bionemo_ext.client.wire.address import Address
from bionemo_ext.client.wire.grpc_transport import GrpcTransport
from bionemo_ext.client.wire.replicas import Connect
from bionemo_ext.client.wire.transport import Transport
from bionemo_ext.errors import RunError


def connector(addresses: Sequence[Address], access: Access) -> Connect:
    """Give what makes the transport of an address and an IP address of it.

    Raises
    ------
    InputError
        If certificates cannot be used.
    RunError
        If an address is of HTTP and what that needs is not installed.
    """
    known: set[str] = set()
    kinds: dict[bool, Callable[[Address, Access, set[str], str], Transport]] = {True: GrpcTransport}
    if not all(address.is_grpc for address in addresses):
        try:
            from bionemo_ext.client.wire.http_transport import HttpTransport
        except (ModuleNotFoundError, RuntimeError):  # tritonclient turns the first into the second
            raise RunError(
                "http:// addresses need aiohttp and geventhttpclient, which are not installed: "
                "pip install 'bionemo-ext[http]'; grpc:// needs neither"
            ) from None
        kinds[False] = HttpTransport

    def connect(address: Address, ip: str) -> Transport:
        return kinds[address.is_grpc](address, access, known, ip)

    return connect
