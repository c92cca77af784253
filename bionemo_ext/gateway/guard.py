"""Around every request: an id, a line of log, counters, a limit of size, headers."""

import asyncio
import json
import logging
import re
import time
import uuid
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bionemo_ext.gateway.incoming import Incoming

log = logging.getLogger("bionemo_ext.gateway")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Everything that the page needs comes from here.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
# What the log calls a caller that went away before there was an answer, as nginx does.
NO_ANSWER = 499
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """What Prometheus collects of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "bionemo_ext_gateway_"
        self.requests = Counter(
            f"{name}requests", "Requests answered", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            f"{name}request_seconds",
            "From a request's arrival to the end of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.under_way = Gauge(
            f"{name}under_way", "Requests being answered now", registry=self.registry
        )
        self.sequences = Counter(
            f"{name}sequences", "Sequences answered", ("model",), registry=self.registry
        )
        self.residues = Counter(
            f"{name}residues", "Residues answered", ("model",), registry=self.registry
        )


@dataclass
class _Seen:
    """What the log tells of a request."""

    status: int = NO_ANSWER
    sent_bytes: int = 0


class Guard:
    """ASGI middleware that every request passes through.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    metrics : Metrics
        What counts.
    max_body_bytes : int
        Larger requests get 413.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self.app = app
        self.metrics = metrics
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        seen, start = _Seen(), time.perf_counter()

        incoming = Incoming(scope, receive, self.max_body_bytes)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            else:
                seen.sent_bytes += len(message.get("body", b""))
                if incoming.is_unread and not message.get("more_body", False):
                    await send({**message, "more_body": True})
                    message = {"type": "http.response.body"}
                    try:
                        await incoming.read_off()
                    finally:  # the gateway may end meanwhile
                        await send(message)
                    return
            await send(message)

        self.metrics.under_way.inc()
        try:
            if incoming.is_declared_too_large:
                await _refuse(answer, 413, incoming.too_large, request_id)
            else:
                await self.app(scope, incoming, answer)
        except asyncio.CancelledError:  # the gateway ends, and its patience too
            if seen.status == NO_ANSWER:
                await _refuse(answer, 503, "the gateway ends; try again", request_id)
        except Exception:
            log.exception("the gateway failed", extra={"fields": {"request_id": request_id}})
            if seen.status == NO_ANSWER:
                await _refuse(answer, 500, "the gateway failed; its log tells more", request_id)
        finally:
            self.metrics.under_way.dec()
            self._note(scope, seen, time.perf_counter() - start)

    def _note(self, scope: Scope, seen: _Seen, seconds: float) -> None:
        # The template of a path, not the path: counters are few, and tell nothing of callers.
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(seen.status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        fields = {
            "request_id": scope["state"]["request_id"],
            "method": scope["method"],
            "path": scope["path"],
            "status": seen.status,
            "ms": round(1000 * seconds, 1),
            "bytes": seen.sent_bytes,
            **scope["state"].get("facts", {}),
        }
        level = logging.ERROR if seen.status >= 500 else logging.INFO
        log.log(level, "request", extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


async def _refuse(send: Send, status: int, message: str, request_id: str) -> None:
    body = {"detail": message, "message": message, "request_id": request_id}
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
