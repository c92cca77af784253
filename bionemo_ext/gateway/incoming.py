"""The body of a request as it comes in: how much of it there may be, and what nobody reads."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

# As long as nginx does (lingering_time).
_READ_OFF_S = 30


class Incoming:
    """ASGI ``receive`` of one request, with a limit of size.

    Parameters
    ----------
    scope : Scope
        The request.
    receive : Receive
        Where its body comes from.
    max_bytes : int
        How much there may be.
    """

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._max_bytes = max_bytes
        self._received = 0
        length = headers.get("content-length", "0")
        self._declared = int(length) if length.isdigit() else 0
        has_body = self._declared > 0 or "transfer-encoding" in headers
        self._is_held_back = has_body and "expect" in headers
        self._is_on_its_way = has_body and not self._is_held_back
        self.too_large = f"a request has at most {max_bytes:,} bytes"

    @property
    def is_declared_too_large(self) -> bool:
        """Whether the headers alone say that it is too large."""
        return self._declared > self._max_bytes

    @property
    def is_unread(self) -> bool:
        """Whether the caller sends something still that nobody has read."""
        return self._is_on_its_way

    async def __call__(self) -> Message:
        """Give the next part.

        Raises
        ------
        HTTPException
            413, if the parts so far are too large.
        """
        if self._is_held_back:  # asking for it is what has it sent
            self._is_held_back, self._is_on_its_way = False, True
        part = await self._next()
        self._received += len(part.get("body", b""))
        if self._received > self._max_bytes:
            raise HTTPException(413, self.too_large)
        return part

    async def read_off(self) -> None:
        """Read what nobody has read, and drop it.

        A connection that is closed over unread bytes is reset, and the reset overtakes an answer
        that the caller, still sending, has not read yet.
        """
        try:
            async with asyncio.timeout(_READ_OFF_S):
                while self.is_unread:
                    await self._next()
        except TimeoutError:
            pass

    async def _next(self) -> Message:
        part = await self._receive()
        self._is_on_its_way = part["type"] == "http.request" and part.get("more_body", False)
        return part
