"""Who is answered now, who waits, and who goes away."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request

from bionemo_ext.errors import BusyError

T = TypeVar("T")


class ClientGoneError(Exception):
    """The caller went away; nobody reads an answer."""


class Admission:
    """Bounds what is held in memory: answers of large models have hundreds of MiB.

    Parameters
    ----------
    under_way : int
        Requests that are answered at once.
    waiting : int
        Requests that may wait for their turn.
    """

    def __init__(self, under_way: int, waiting: int) -> None:
        self._turn = asyncio.Semaphore(under_way)
        self._places = under_way + waiting
        self._taken = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn.

        Raises
        ------
        BusyError
            If too many wait already.
        """
        if self._taken >= self._places:
            raise BusyError(
                f"{self._places:,} requests are being answered or wait; try again later"
            )
        self._taken += 1
        try:
            async with self._turn:
                yield
        finally:
            self._taken -= 1

    async def answer(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` in its turn, and drop it when the caller goes away.

        Raises
        ------
        BusyError
            If too many wait already.
        ClientGoneError
            If the caller went away.
        """

        async def in_turn() -> T:
            try:
                async with self.turn():
                    return await work
            finally:
                work.close()  # if it never began

        doing = asyncio.ensure_future(in_turn())
        leaving = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise ClientGoneError
            return doing.result()
        finally:
            for task in (doing, leaving):
                task.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
