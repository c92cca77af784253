"""The published schema: every model's route with its own limits."""

import copy
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from bionemo_ext import __version__
from bionemo_ext.gateway.bodies import MAX_RESIDUES, lenient_schema, strict_schema
from bionemo_ext.gateway.served import ServedModel

_DESCRIPTION = (
    "Embeddings of ESM models as callers of the hosted ESM-2 service know them, and predictions "
    "of one protein for the page."
)
# The bodies that hold sequences, and the fields that hold them.
_BODIES = {"EmbeddingRequest": "sequences", "OlderEmbeddingRequest": "sequence"}
_PROTEIN_BODIES = ("ProteinRequest", "ScanRequest")


def describe(app: FastAPI, models: Mapping[str, ServedModel], *, guarded: bool) -> dict[str, Any]:
    """Write the OpenAPI document of an application.

    Parameters
    ----------
    app : FastAPI
        Its routes.
    models : mapping of str to ServedModel
        What the server has now. A path with ``{model}`` becomes one path a model; while the
        server is unknown it stays as it is.
    guarded : bool
        Whether a token is asked for.
    """
    document = get_openapi(
        title="bionemo-ext gateway",
        version=__version__,
        description=_DESCRIPTION,
        routes=app.routes,
    )
    if not guarded:
        _open(document)
    if models:
        _of_models(document, models)
    return document


def _open(document: dict[str, Any]) -> None:
    """No operation asks for a token."""
    del document["components"]["securitySchemes"]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
            for status in ("401", "403"):
                operation["responses"].pop(status, None)


def _of_models(document: dict[str, Any], models: Mapping[str, ServedModel]) -> None:
    """Every model with a path and limits of its own."""
    paths: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        if "{model}" not in path:
            paths[path] = operations
            continue
        for route, model in models.items():
            paths[path.replace("{model}", route)] = _of_model(operations["post"], model, document)
    document["paths"] = paths
    schemas = document["components"]["schemas"]
    for name in _BODIES:
        del schemas[name]
    for name in _PROTEIN_BODIES:
        _bound_protein(schemas[name]["properties"], models)


def _of_model(
    operation: Mapping[str, Any], model: ServedModel, document: dict[str, Any]
) -> dict[str, Any]:
    """One model's own operation, its body with the model's own limit."""
    own = copy.deepcopy(dict(operation))
    own["operationId"] = f"{own['operationId']}_{model.route}"
    own["parameters"] = [p for p in own.get("parameters", ()) if p["name"] != "model"]
    own["responses"].pop("404", None)
    content = own["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    schema = copy.deepcopy(document["components"]["schemas"][name])
    limit = min(MAX_RESIDUES, model.max_residues)
    schema["properties"][_BODIES[name]]["items"] = strict_schema(limit)
    content["schema"] = schema
    return {"post": own}


def _bound_protein(fields: dict[str, Any], models: Mapping[str, ServedModel]) -> None:
    """The fields of the page's requests: the models there are, and the least of their limits."""
    limit = min(model.max_residues for model in models.values())
    fields["sequence"].update(lenient_schema(limit))
    for choice in fields["model"]["anyOf"]:
        if choice["type"] == "string":
            choice.pop("maxLength", None)
            choice["enum"] = list(models)
