"""The token that callers must send, and what routes need of the application."""

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bionemo_ext.gateway.admission import Admission
from bionemo_ext.gateway.guard import Metrics
from bionemo_ext.gateway.served import Directory, ServedModel
from bionemo_ext.gateway.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="The gateway's token, where it has one.")


@dataclass(frozen=True)
class Gateway:
    """What routes work with."""

    settings: Settings
    directory: Directory
    admission: Admission
    metrics: Metrics

    def note(self, request: Request, model: ServedModel, sequences: list[str]) -> None:
        """Count what was answered, for metrics and log."""
        residues = sum(map(len, sequences))
        self.metrics.sequences.labels(model.name).inc(len(sequences))
        self.metrics.residues.labels(model.name).inc(residues)
        request.state.facts = {
            "model": model.name,
            "sequences": len(sequences),
            "residues": residues,
        }


def gateway_of(request: Request) -> Gateway:
    """Find the gateway that a request came to."""
    return request.app.state.gateway


def check_token(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Refuse a request without the gateway's token.

    Raises
    ------
    HTTPException
        401 where there is none, 403 where it is another.
    """
    token = gateway_of(request).settings.token
    if token is None:
        return
    if given is None:
        raise HTTPException(
            401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
    # Header values come as latin-1, and compare_digest takes no other text than ASCII.
    if not secrets.compare_digest(given.credentials.encode(), token.encode()):
        raise HTTPException(403, "the token is wrong")


TheGateway = Annotated[Gateway, Depends(gateway_of)]
with_token = Depends(check_token)
