"""The application, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from bionemo_ext.errors import BionemoExtError
from bionemo_ext.gateway import embeddings, protein, service
from bionemo_ext.gateway.access import Gateway, TheGateway, with_token
from bionemo_ext.gateway.admission import Admission, ClientGoneError
from bionemo_ext.gateway.faults import install
from bionemo_ext.gateway.guard import NO_ANSWER, Guard, Metrics
from bionemo_ext.gateway.openapi import describe
from bionemo_ext.gateway.served import Directory
from bionemo_ext.gateway.settings import Connect, Settings

_PAGE = Path(__file__).parent / "page"


def create_app(connect: Connect, settings: Settings | None = None) -> FastAPI:
    """Make the gateway's ASGI application.

    Parameters
    ----------
    connect : callable
        Makes an :class:`~bionemo_ext.client.AsyncClient` of one of the server's models. Nothing is
        sent before the first request, so the server may come later.
    settings : Settings, optional
        How it behaves.
    """
    settings = settings or Settings()
    metrics = Metrics()
    app = FastAPI(
        lifespan=_lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.gateway = Gateway(
        settings,
        Directory(connect, settings.aliases),
        Admission(settings.under_way, settings.waiting),
        metrics,
    )
    app.add_middleware(Guard, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    install(app)
    app.add_exception_handler(ClientGoneError, _gone)
    for router in (embeddings.router, protein.router, service.router):
        app.include_router(router)
    app.add_api_route("/models", service.models, include_in_schema=False, dependencies=[with_token])
    app.add_api_route("/openapi.json", _openapi, include_in_schema=False)
    app.add_api_route("/", _index, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/page", StaticFiles(directory=_PAGE))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.gateway.directory.close()


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=NO_ANSWER)


async def _openapi(request: Request, gateway: TheGateway) -> dict[str, Any]:
    try:
        models = await gateway.directory.models()
    except BionemoExtError:  # the routes are known without the server
        models = {}
    return describe(request.app, models, guarded=gateway.settings.token is not None)


async def _index() -> FileResponse:
    return FileResponse(_PAGE / "index.html", headers={"Cache-Control": "no-cache"})
