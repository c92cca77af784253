"""The routes around the models: health, what there is, metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from bionemo_ext import __version__
from bionemo_ext.errors import BionemoExtError
from bionemo_ext.gateway.access import TheGateway, with_token
from bionemo_ext.gateway.bodies import MAX_RESIDUES, MAX_SEQUENCES, Task
from bionemo_ext.gateway.faults import responses
from bionemo_ext.gateway.served import ServedModel

router = APIRouter(prefix="/v1", tags=["service"])

# Of the routes and their shapes.
_API_VERSION = "1.0.0"


class Live(BaseModel):
    """The gateway runs."""

    object: str = "health.response"
    message: str = "live"
    live: bool = True


class Ready(BaseModel):
    """Whether requests can be answered."""

    object: str = "health.response"
    message: str
    ready: bool


class Version(BaseModel):
    """Versions."""

    release: str = Field(description="Of bionemo-ext.")
    api: str = Field(description="Of these routes.")


class ModelInfo(BaseModel):
    """A model in the metadata."""

    shortName: str  # noqa: N815
    modelUrl: str = Field(description="Where its embeddings are asked.")  # noqa: N815
    digest: str = Field(description="SHA-256 of its weights.")
    dtype: str = Field(description="Precision that it computes in.")
    layers: int
    hidden_size: int


class Metadata(BaseModel):
    """What this is."""

    id: str = "bionemo-ext"
    version: str = __version__
    modelInfo: list[ModelInfo]  # noqa: N815
    limits: dict[str, int]


class Model(BaseModel):
    """A model, and what can be asked of it."""

    id: str
    object: str = "model"
    owned_by: str = "bionemo-ext"
    root: str = Field(description="Its name at the server; the same for all its names here.")
    max_residues: int = Field(description="Residues that a sequence may have.")
    hidden_size: int
    tasks: list[Task]
    contacts: bool = Field(description="Whether it predicts contacts.")
    mutation_effects: bool = Field(description="Whether it scores mutations.")


class OlderModel(BaseModel):
    """A model as the older client reads it."""

    name: str
    methods: list[str]


class Models(BaseModel):
    """The models."""

    object: str = "list"
    data: list[Model]
    models: list[OlderModel] = Field(description="The same, for the older client.")


@router.get("/health/live", summary="Does the gateway run?")
async def live() -> Live:
    """Answer without asking the server."""
    return Live()


@router.get(
    "/health/ready",
    responses={503: {"model": Ready, "description": "The server is not ready."}},
    summary="Can requests be answered?",
)
async def ready(response: Response, gateway: TheGateway) -> Ready:
    """Ask the server."""
    try:
        if await gateway.directory.ready():
            return Ready(message="ready", ready=True)
        reason = "the server is not ready"
    except BionemoExtError as error:
        reason = str(error)
    response.status_code = 503
    return Ready(message=f"not ready: {reason}", ready=False)


@router.get("/version", summary="Versions")
async def version() -> Version:
    """Tell the versions."""
    return Version(release=__version__, api=_API_VERSION)


@router.get("/metadata", responses=responses(502, 503, 504), summary="What is served")
async def metadata(gateway: TheGateway) -> Metadata:
    """Describe the models and limits."""
    models = (await gateway.directory.models()).values()
    return Metadata(
        modelInfo=[_info(model) for model in models],
        limits={"sequences": MAX_SEQUENCES, "residues": MAX_RESIDUES},
    )


@router.get(
    "/models",
    dependencies=[with_token],
    responses=responses(401, 403, 502, 503, 504),
    summary="The models and their tasks",
)
async def models(gateway: TheGateway) -> Models:
    """List the models; the first answers where a request names none."""
    found = (await gateway.directory.models()).values()
    return Models(
        data=[_model(model) for model in found],
        models=[OlderModel(name=model.route, methods=["embeddings"]) for model in found],
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Metrics for Prometheus",
)
async def metrics(gateway: TheGateway) -> Response:
    """Give Prometheus's text."""
    return Response(
        generate_latest(gateway.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


def _info(model: ServedModel) -> ModelInfo:
    facts = model.encoder.parameters
    return ModelInfo(
        shortName=model.route,
        modelUrl=f"/v1/biology/meta/{model.route}",
        digest=facts["digest"],
        dtype=facts["dtype"],
        layers=int(facts["layers"]),
        hidden_size=model.hidden_size,
    )


def _model(model: ServedModel) -> Model:
    return Model(
        id=model.route,
        root=model.name,
        max_residues=model.max_residues,
        hidden_size=model.hidden_size,
        tasks=[
            Task(name=t.name, level=t.level, kind=t.kind, classes=list(t.classes))
            for t in model.tasks
        ],
        contacts=model.contacts,
        mutation_effects=model.mutation_effects,
    )
