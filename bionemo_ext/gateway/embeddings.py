"""The routes that embed: the hosted service's and the older client's.

N sequences, L residues of the longest, H hidden size, V tokens of the alphabet.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from numpy.typing import NDArray

from bionemo_ext.client import AsyncClient, Result
from bionemo_ext.contract import LOGITS, RESIDUES
from bionemo_ext.gateway.access import TheGateway, with_token
from bionemo_ext.gateway.arrays import MEDIA_TYPES, Format, as_file, padded
from bionemo_ext.gateway.bodies import EmbeddingRequest, OlderEmbeddingRequest
from bionemo_ext.gateway.faults import responses
from bionemo_ext.gateway.served import ServedModel, check_length

router = APIRouter(dependencies=[with_token], tags=["embeddings"])

_MEAN = "mean"
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An npz file, or HDF5 of the same arrays.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in MEDIA_TYPES.values()
        },
    }
}
_ERRORS = (401, 403, 404, 413, 422, 429, 502, 503, 504)
_OLDER_ERRORS = (400, 401, 403, 413, 429, 502, 503, 504)
Model = Annotated[str, Path(max_length=64, description="A model of /v1/models.")]


@router.post(
    "/v1/biology/meta/{model}",
    response_class=Response,
    responses={**_FILES, **responses(*_ERRORS)},
    summary="Embed sequences",
)
async def embed(
    model: Model, body: EmbeddingRequest, request: Request, gateway: TheGateway
) -> Response:
    """Embed up to 32 sequences.

    The arrays are `embeddings` FP32 [N, H], the mean over residues, and `representations` FP32
    [N, L, H], a row a residue; those of shorter sequences end with rows of zeros.
    """
    about = await gateway.directory.model(model)
    return await gateway.admission.answer(
        request, _embed(request, gateway, about, body.sequences, body.format)
    )


@router.post(
    "/protein-embedding/{model}/embeddings",
    response_class=Response,
    responses={**_FILES, **responses(*_OLDER_ERRORS)},
    summary="Embed sequences, for the older client",
)
@router.post("/v1/protein-embedding/{model}/embeddings", include_in_schema=False)
async def embed_older(
    model: Model, body: OlderEmbeddingRequest, request: Request, gateway: TheGateway
) -> Response:
    """Embed up to 32 sequences, and give what the older client takes apart.

    The arrays are `embeddings` FP32 [N, H], `representations` FP32 [N, L, H], `logits` FP32
    [N, L, V] and `tokens` INT64 [N, L], residues alone; those of shorter sequences end with zeros,
    `tokens` with the padding's.
    """
    about = await gateway.directory.model(model)
    return await gateway.admission.answer(
        request, _embed(request, gateway, about, body.sequence, body.format, older=True)
    )


async def _embed(
    request: Request,
    gateway: TheGateway,
    model: ServedModel,
    sequences: list[str],
    kind: Format,
    *,
    older: bool = False,
) -> Response:
    check_length(sequences, model)
    outputs = (_MEAN, RESIDUES, LOGITS) if older else (_MEAN, RESIDUES)
    results = await _results(gateway.directory.client(model.name), sequences, outputs)

    def file() -> memoryview:
        arrays = _arrays(results)
        return as_file(arrays | _older_arrays(results, model) if older else arrays, kind)

    content = await asyncio.to_thread(file)
    gateway.note(request, model, sequences)
    disposition = f'attachment; filename="embeddings.{kind.value}"'
    return Response(
        content, headers={"Content-Disposition": disposition}, media_type=MEDIA_TYPES[kind]
    )


async def _results(
    client: AsyncClient, sequences: list[str], outputs: tuple[str, ...]
) -> list[Result]:
    return [result async for result in client.stream(sequences, outputs)]


def _arrays(results: Sequence[Result]) -> dict[str, NDArray[Any]]:
    return {
        "embeddings": np.stack([result.values[_MEAN] for result in results]),
        "representations": padded([result.values[RESIDUES] for result in results]),
    }


def _older_arrays(results: Sequence[Result], model: ServedModel) -> dict[str, NDArray[Any]]:
    alphabet = model.alphabet
    tokens = [alphabet.encode_residues(result.sequence) for result in results]
    return {
        "logits": padded([result.values[LOGITS] for result in results]),
        "tokens": padded(tokens, alphabet.pad_id),
    }
