"""Errors as callers meet them: a status, and JSON with one sentence."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from bionemo_ext.errors import (
    BionemoExtError,
    BusyError,
    DeadlineError,
    InputError,
    NotFoundError,
    ServerError,
    UnavailableError,
)

# Paths of the older service, which called every wrong request a 400.
OLDER = "/protein-embedding/"
_RETRY_S = 5


class Fault(BaseModel):
    """What the fields of a request have wrong."""

    type: str
    loc: list[str | int] = Field(description="Where in the request.")
    msg: str


class Problem(BaseModel):
    """Every error."""

    detail: str | list[Fault] = Field(description="The sentence, or all that a body has wrong.")
    message: str = Field(description="One sentence for a person.")
    request_id: str = Field(description="What the log calls this request.")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors for OpenAPI."""
    headers = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {
        status: {
            "model": Problem,
            "description": _MEANING[status],
            **({"headers": headers} if status in (429, 503) else {}),
        }
        for status in statuses
    }


_MEANING = {
    400: "The request is wrong.",
    401: "A token is needed.",
    403: "The token is wrong.",
    404: "There is no such model.",
    413: "The request is too large.",
    422: "The request is wrong.",
    429: "Too many requests wait.",
    502: "The server failed.",
    503: "The server does not answer.",
    504: "The server did not answer in time.",
}


def install(app: FastAPI) -> None:
    """Let every error of ``app`` be told as a :class:`Problem`."""

    @app.exception_handler(BionemoExtError)
    async def _ours(request: Request, error: BionemoExtError) -> Response:
        return problem(request, status_of(error, request.url.path), str(error))

    @app.exception_handler(RequestValidationError)
    async def _body(request: Request, error: RequestValidationError) -> Response:
        # Without what was sent: it may be a megabyte, and no JSON.
        faults = [{key: e[key] for key in ("type", "loc", "msg")} for e in error.errors()]
        status = _wrong(request.url.path)
        return problem(request, status, sentence(error.errors()), faults)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400 and error.__cause__ is not None:  # FastAPI could not read it
            return problem(request, _wrong(request.url.path), "the body is no JSON in UTF-8")
        response = problem(request, error.status_code, str(error.detail))
        response.headers.update(error.headers or {})
        return response


def status_of(error: BionemoExtError, path: str) -> int:
    """Choose the HTTP status of an error."""
    match error:
        case NotFoundError():
            return 400 if OLDER in path else 404  # a 404 means a lost request to the older client
        case InputError():
            return _wrong(path)
        case BusyError():
            return 429
        case UnavailableError():
            return 503
        case DeadlineError():
            return 504
        case ServerError():
            return 502
    return 500


def _wrong(path: str) -> int:
    """The status of a request that is wrong."""
    return 400 if OLDER in path else 422


def problem(
    request: Request, status: int, message: str, detail: list[dict[str, Any]] | None = None
) -> Response:
    """Make the answer to a request that failed."""
    request_id = request.scope.get("state", {}).get("request_id", "")
    body = {"detail": detail or message, "message": message, "request_id": request_id}
    headers = {"Retry-After": str(_RETRY_S)} if status in (429, 503) else None
    # ASCII, because a caller's own half of a surrogate pair may be told back.
    return Response(json.dumps(body), status, headers, "application/json")


def sentence(errors: Sequence[dict[str, Any]]) -> str:
    """Say in one sentence what is wrong with a body: the first fault, and how many more."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"the body is no JSON: {first.get('ctx', {}).get('error', 'it cannot be read')}"
    message = str(first["msg"])
    text = f"{_place(first['loc'])}: {message[:1].lower()}{message[1:]}"
    more = len(errors) - 1
    return f"{text} (and {more} more like it)" if more else text


def _place(location: Sequence[str | int]) -> str:
    words = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[1:]]
    return "".join(words).removeprefix(".") or "the body"
