"""One request, its attempts and its deadline, whichever server answers it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bionemo_ext.client.wire.access import Access
from bionemo_ext.client.wire.address import Address
from bionemo_ext.client.wire.attempts import Attempts
from bionemo_ext.client.wire.connector import connector
from bionemo_ext.client.wire.failures import Failure
from bionemo_ext.client.wire.replicas import PROBE_S, Replica, Replicas, Resolve
from bionemo_ext.client.wire.resolve import resolve
from bionemo_ext.client.wire.retry import Retry
from bionemo_ext.client.wire.transport import Arrays, Inputs, Transport
from bionemo_ext.contract import Endpoint
from bionemo_ext.errors import DeadlineError, InputError, UnavailableError

# A deadline of zero would be none, and one that the server or gRPC keeps may come a little early.
_LEAST_S = 0.001
_ROUNDING_S = 0.05

CLOSED = "the client is closed"
CLOSED_MEANWHILE = "the client was closed before the answer came"

T = TypeVar("T")
Call = Callable[[Transport, float], Awaitable[T]]


class Connection:
    """Calls on one server, or on several that serve the same models.

    It belongs to the event loop of its first call.

    Parameters
    ----------
    addresses : sequence of Address
        The servers.
    access : Access
        Certificates and headers.
    timeout_s : float
        How long one request may take, with all its attempts and waits.
    retry : Retry
        When a request is tried again.
    look_up : callable
        Gives the IP addresses of a name.

    Attributes
    ----------
    closed : bool
        Whether :meth:`close` was called.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        access: Access,
        timeout_s: float,
        retry: Retry,
        look_up: Resolve = resolve,
    ) -> None:
        self._everyone = ", ".join(map(str, addresses))
        self._timeout_s, self._retry = timeout_s, retry
        self._replicas = Replicas(addresses, connector(addresses, access), retry, look_up)
        # Whether anybody has ever answered: until then nobody is waited for.
        self._reached = False
        self.closed = False

    async def close(self) -> None:
        """Close all connections; calls under way are given up."""
        self.closed = True
        await self._replicas.close()

    async def ready(self) -> bool:
        """Whether a server is ready with all its models; asked once."""

        async def one(replica: Replica) -> bool:
            return await replica.transport.ready(PROBE_S)

        try:
            async with asyncio.timeout(min(self._timeout_s, PROBE_S)):
                await self._replicas.find(PROBE_S)
                answers = await asyncio.gather(*map(one, self._replicas), return_exceptions=True)
        except (Failure, TimeoutError):
            return False
        return any(answer is True for answer in answers)

    async def endpoint_names(self) -> list[str]:
        """Names of the endpoints that are ready, sorted."""
        return await self._ask(lambda to, left_s: to.endpoint_names(left_s), PROBE_S)

    async def endpoint(self, name: str) -> Endpoint:
        """Ask what an endpoint is."""
        return await self._ask(lambda to, left_s: to.endpoint(name, left_s), PROBE_S)

    async def infer(self, endpoint: str, inputs: Inputs, outputs: Sequence[str]) -> Arrays:
        """One request: arrays [B, 1] in, arrays [B, ...] out, rows of short sequences padded."""
        return await self._ask(lambda to, left_s: to.infer(endpoint, inputs, outputs, left_s))

    async def _ask(self, call: Call[T], attempt_s: float | None = None) -> T:
        """Try until an answer comes, the deadline passes, or another attempt would not help.

        One attempt of several may take ``attempt_s``, and the last one what is left.
        """
        if self.closed:
            raise InputError(CLOSED)
        attempts = Attempts(self._timeout_s)
        tried: set[Replica] = set()
        rounds, who, replica = 0, self._everyone, None
        while True:
            try:
                await self._replicas.find(attempts.left_s)
                if self.closed:
                    raise UnavailableError(CLOSED_MEANWHILE)
                first = attempt_s is None and not attempts.made
                replica = self._replicas.pick(tried, turn=first)
                who = str(replica)
                answer = await self._attempt(replica, call, attempts.left_s, attempt_s)
            except TimeoutError:
                raise attempts.too_late(who, self._everyone) from None
            except Failure as failure:
                attempts.note(failure)
                tried.update(one for one in self._replicas if one is replica)
                others = any(one not in tried for one in self._replicas)
                if not self._worthwhile(failure, attempts, others):
                    raise attempts.error(failure, who, self._everyone) from None
            else:
                self._reached = True
                return answer
            if not others:
                rounds += 1
                tried.clear()
                await self._replicas.wait(min(self._retry.wait_s(rounds), attempts.left_s))
                if not attempts.left_s:
                    raise attempts.too_late(who, self._everyone)

    async def _unless_closed(self, call: Awaitable[T]) -> T:
        """Tell a call that was broken off by :meth:`close` from one that its caller gave up."""
        try:
            return await call
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.closed and task is not None and not task.cancelling():
                raise UnavailableError(CLOSED_MEANWHILE) from None
            raise

    def _worthwhile(self, failure: Failure, attempts: Attempts, others: bool) -> bool:
        """Whether to try again: now with another server, or later where one has ever answered."""
        self._reached = self._reached or failure.answered
        if not self._retry.may(attempts.made):
            return False
        if others and (failure.retry or failure.lost):
            return True
        return failure.retry and self._reached

    async def _attempt(
        self, replica: Replica, call: Call[T], left_s: float, attempt_s: float | None
    ) -> T:
        """One attempt.

        Raises
        ------
        Failure
            If it brought no answer; the replica is left out from now on where that is its fault.
        TimeoutError
            If the deadline of the request has passed.
        """
        limit_s = left_s if attempt_s is None else min(left_s, attempt_s)
        began = asyncio.get_running_loop().time()
        try:
            with replica.asked() as transport:
                # gRPC keeps to the limit by itself, but not while it connects.
                async with asyncio.timeout(limit_s):
                    return await self._unless_closed(call(transport, max(limit_s, _LEAST_S)))
        except TimeoutError:
            if limit_s == left_s:
                raise
            self._replicas.lose(replica)
            detail = f"no answer within {limit_s:g} s"
            raise Failure(UnavailableError, detail, retry=True, answered=False) from None
        except Failure as failure:
            late = asyncio.get_running_loop().time() - began > left_s - _ROUNDING_S
            if failure.kind is DeadlineError and late:
                raise TimeoutError from None
            if failure.lost:
                self._replicas.lose(replica)
            raise
