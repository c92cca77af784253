"""The routes that the page asks: tracks, contacts, mutation effects of one protein."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.errors import NotFoundError
from bionemo_ext.gateway.access import Gateway, TheGateway, with_token
from bionemo_ext.gateway.bodies import (
    ProteinRequest,
    Scan,
    ScanRequest,
    TaskValues,
    Tracks,
)
from bionemo_ext.gateway.faults import responses
from bionemo_ext.gateway.served import ServedModel
from bionemo_ext.sequences import LengthPolicy, Record, SequencePolicy, clean_sequence

router = APIRouter(prefix="/api", dependencies=[with_token], tags=["protein"])

T = TypeVar("T")

# Digits that a picture and a table need; the full precision is the embedding routes'.
_DIGITS = 4
_WHOLE = SequencePolicy(long=LengthPolicy.REFUSE)
_UINT16 = np.iinfo(np.uint16).max
_ERRORS = responses(401, 403, 404, 413, 422, 429, 502, 503, 504)


@router.post("/tracks", responses=_ERRORS, summary="Predict every task")
async def tracks(body: ProteinRequest, request: Request, gateway: TheGateway) -> Tracks:
    """Predict every task of the model for one protein, with one pass of its encoder."""
    model, record = await _opened(gateway, body)
    values = await _answer(request, gateway, model, record, _predict(gateway, model, record))
    tasks = [
        TaskValues(
            name=task.name,
            level=task.level,
            kind=task.kind,
            classes=list(task.classes),
            values=_rounded(np.atleast_2d(values[task.name])),
        )
        for task in model.tasks
    ]
    return Tracks(name=record.name, model=model.route, sequence=record.sequence, tasks=tasks)


@router.post(
    "/contacts",
    response_class=Response,
    responses={
        200: {
            "description": "L x L numbers.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        **_ERRORS,
    },
    summary="Predict contacts",
)
async def contacts(body: ProteinRequest, request: Request, gateway: TheGateway) -> Response:
    """Predict the probability of a contact for every two residues.

    L x L little-endian unsigned integers of 16 bits, row by row; 65,535 is 1.
    """
    model, record = await _opened(gateway, body)
    if not model.contacts:
        raise NotFoundError(f"{model.route} predicts no contacts")
    client = gateway.directory.client(model.name)
    (found,) = await _answer(
        request, gateway, model, record, client.contacts([record], policy=_WHOLE)
    )
    content = np.rint(np.clip(found, 0, 1) * _UINT16).astype("<u2").tobytes()
    return Response(content, media_type="application/octet-stream")


@router.post("/scan", responses=_ERRORS, summary="Score every substitution")
async def scan(body: ScanRequest, request: Request, gateway: TheGateway) -> Scan:
    """Score all 20 amino acids at every residue."""
    model, record = await _opened(gateway, body)
    if not model.mutation_effects:
        raise NotFoundError(f"{model.route} scores no mutations")
    client = gateway.directory.client(model.name)
    (effects,) = await _answer(
        request, gateway, model, record, client.scan([record], body.method, policy=_WHOLE)
    )
    return Scan(
        name=record.name,
        model=model.route,
        sequence=record.sequence,
        method=body.method,
        amino_acids=AMINO_ACIDS,
        effects=_rounded(effects),
    )


async def _opened(gateway: Gateway, body: ProteinRequest) -> tuple[ServedModel, Record]:
    model = await gateway.directory.model(body.model)
    name = body.name or "sequence"
    policy = SequencePolicy(alphabet=model.alphabet)
    sequence = clean_sequence(body.sequence, name, policy, limit=model.max_residues)
    return model, Record(name, sequence)


async def _answer(
    request: Request,
    gateway: Gateway,
    model: ServedModel,
    record: Record,
    work: Coroutine[Any, Any, T],
) -> T:
    found = await gateway.admission.answer(request, work)
    gateway.note(request, model, [record.sequence])
    return found


async def _predict(
    gateway: Gateway, model: ServedModel, record: Record
) -> dict[str, NDArray[np.float32]]:
    names = tuple(task.name for task in model.tasks)
    if not names:
        return {}
    client = gateway.directory.client(model.name)
    (result,) = [found async for found in client.stream([record], names, policy=_WHOLE)]
    return dict(result.values)


def _rounded(values: NDArray[np.float32]) -> list[list[float]]:
    return np.round(values.astype(np.float64), _DIGITS).tolist()
