"""The servers that a client may ask, and which of them are well."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bionemo_ext.client.wire.address import Address
from bionemo_ext.client.wire.failures import Failure
from bionemo_ext.client.wire.retry import Retry
from bionemo_ext.client.wire.transport import Transport
from bionemo_ext.errors import UnavailableError

# How long a server may take to say that it is ready, and a name to be looked up.
PROBE_S = 10.0
LOOK_UP_S = 5.0
# After which names are looked up again.
STALE_S = 30.0

Connect = Callable[[Address, str], Transport]
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(eq=False)
class Replica:
    """One server.

    Parameters
    ----------
    address : Address
        What the user gave.
    ip : str
        Where it is; of a name that has several addresses one of them.
    transport : Transport
        The connection to it.
    well : bool
        Whether it takes part; one that failed is asked in the background until it does again.
    under_way : int
        Requests that wait for its answer.
    """

    address: Address
    ip: str
    transport: Transport
    well: bool = True
    under_way: int = 0

    @contextmanager
    def asked(self) -> Iterator[Transport]:
        """Count a request for as long as it lasts."""
        self.under_way += 1
        try:
            yield self.transport
        finally:
            self.under_way -= 1

    def __str__(self) -> str:
        return str(self.address) + (f" ({self.ip})" if self.ip != self.address.host else "")


class Replicas:
    """Takes turns among servers; one that fails is left out, asked again, and taken back.

    Every IP address of a host name is a server of its own, as behind a headless service of
    Kubernetes. Names are looked up again when a server fails, and every 30 seconds.

    Parameters
    ----------
    addresses : sequence of Address
        One or several.
    connect : callable
        Makes the transport of an address and an IP address of it.
    retry : Retry
        How long to wait between questions to a server that failed.
    look_up : callable
        Gives the IP addresses of a name.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Connect,
        retry: Retry,
        look_up: Resolve,
    ) -> None:
        self._addresses, self._connect, self._retry = addresses, connect, retry
        self._look_up = look_up
        self._all: list[Replica] = []
        self._turn = 0
        self._looked_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._back: asyncio.Event | None = None

    def __iter__(self) -> Iterator[Replica]:
        return iter(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)

    async def find(self, left_s: float) -> None:
        """Look names up where that was never done, and in the background where it was long ago.

        Raises
        ------
        Failure
            If no name has an address.
        """
        if not self._all:
            try:
                await asyncio.wait_for(self._look(), min(left_s, LOOK_UP_S))
            except TimeoutError:
                hosts = ", ".join(repr(address.host) for address in self._addresses)
                detail = f"the name {hosts} was not found within {LOOK_UP_S:g} s"
                raise Failure(UnavailableError, detail, retry=True, answered=False) from None
        elif asyncio.get_running_loop().time() - self._looked_at > STALE_S:
            self._look_again()

    def pick(self, tried: Collection[Replica], *, turn: bool) -> Replica:
        """Choose whom to ask: not yet tried before tried, well before lost, idle before busy.

        Among equals they take turns, of which this is one if ``turn``: were every question and
        every attempt one, requests could all begin at the same server.
        """
        self._turn += turn
        count = len(self._all)
        turns = [self._all[(self._turn + i) % count] for i in range(count)]
        return min(turns, key=lambda one: (one in tried, not one.well, one.under_way))

    def lose(self, replica: Replica) -> None:
        """Leave a server out until it says that it is ready."""
        if replica.well:
            replica.well = False
            self._begin(self._probe(replica))
            self._look_again()

    async def wait(self, seconds: float) -> None:
        """Wait, and no longer than until a server that was lost is back."""
        self._back = self._back or asyncio.Event()
        try:
            await asyncio.wait_for(self._back.wait(), seconds)
        except TimeoutError:
            return

    async def close(self) -> None:
        """Close all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(one.transport.close() for one in self._all))

    async def _look(self) -> None:
        self._looked_at = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*map(self._ips, self._addresses), return_exceptions=True)
        for address, ips in zip(self._addresses, outcomes, strict=True):
            if isinstance(ips, BaseException):  # what was found before stays
                continue
            there = {one.ip: one for one in self._all if one.address == address}
            new = [
                Replica(address, ip, self._connect(address, ip)) for ip in ips if ip not in there
            ]
            gone = [one for ip, one in there.items() if ip not in ips]
            self._all = [one for one in self._all if one not in gone] + new
            for one in gone:
                self._begin(_retire(one))
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if not self._all:
            raise failures[0]

    async def _ips(self, address: Address) -> list[str]:
        if address.keeps_name:
            return [address.host]
        return await self._look_up(address.host, address.port)

    def _look_again(self) -> None:
        names = not all(address.keeps_name for address in self._addresses)
        if names and (self._looking is None or self._looking.done()):
            self._looking = self._begin(asyncio.wait_for(self._look(), LOOK_UP_S))

    async def _probe(self, replica: Replica) -> None:
        asked = 0
        while not replica.well and replica in self._all:
            asked += 1
            await asyncio.sleep(self._retry.wait_s(asked))
            with suppress(Failure, TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    replica.well = await replica.transport.ready(PROBE_S)
        if self._back is not None:  # whoever waits now is woken, who waits later waits anew
            self._back.set()
            self._back = None

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a look-up that failed is made again


async def _retire(replica: Replica) -> None:
    """Close the connection to a server that the name does not lead to any more."""
    while replica.under_way:
        await asyncio.sleep(0.1)
    await replica.transport.close()
