"""The HTTP surface of one replica."""

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from monitoring.metrics import GatewayMetrics
from monitoring.spans import Tracer
from serving.api import chat, completions, feedback, health, models, responses, status_page
from serving.api.event_stream import EventStream
from serving.api.generation import GenerationRoute
from serving.api.middleware import GatewayMiddleware, answer_http_exception
from serving.api.tracing import TracingMiddleware
from serving.api.wire import GatewayStatus
from serving.auth import Authenticator
from serving.config import GatewayConfig
from serving.errors import RouteNotFound
from serving.generate import Generator
from serving.life.feedback import FeedbackDesk

FILE_PATHS = ("/v1/files", "/v1/files/{rest:path}")
FINE_TUNING_PATHS = ("/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs/{rest:path}")
KNOWLEDGE_PATHS = (
    "/v1/vector_stores",
    "/v1/vector_stores/{rest:path}",
    "/v1/embeddings",
    "/v1/rerank",
)


@dataclass(frozen=True, slots=True)
class Apps:
    """What may live in other processes. Each asks for the caller's key itself."""

    control: ASGIApp
    """Answers ``/admin/*`` and, where the configuration has a section for it, fine-tuning."""
    knowledge: ASGIApp | None
    """Answers for files, vector stores, embeddings and reranking; None where the configuration has none of it."""


class _Elsewhere:
    """Hands a request over as it is; the router would wrap a plain function."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _no_knowledge(scope: Scope, receive: Receive, send: Send) -> None:
    where = f"{scope['method']} {scope['path']}"
    raise RouteNotFound(f"Invalid URL ({where}): this gateway has no section `knowledge` in its configuration.")


async def _no_training(scope: Scope, receive: Receive, send: Send) -> None:
    where = f"{scope['method']} {scope['path']}"
    raise RouteNotFound(
        f"Invalid URL ({where}): this gateway takes no fine-tuning jobs; a section `training: {{}}` in its "
        "configuration enables them."
    )


async def _no_files(scope: Scope, receive: Receive, send: Send) -> None:
    where = f"{scope['method']} {scope['path']}"
    raise RouteNotFound(
        f"Invalid URL ({where}): this gateway has no section `knowledge` in its configuration, nor `training`."
    )


def build_api(
    generator: Generator,
    config: GatewayConfig,
    authenticator: Authenticator,
    metrics: GatewayMetrics,
    status: GatewayStatus,
    apps: Apps,
    desk: FeedbackDesk | None = None,
    tracer: Tracer | None = None,
    board: status_page.StatusSource | None = None,
) -> FastAPI:
    """The app.

    The generation routes are plain ASGI: what FastAPI does for a route costs more than all of ours together.

    Args:
        desk: takes feedback; None: there is none.
        tracer: traces requests; None: nothing does, and no request pays for it.
        board: knows what ``/status`` shows; None: there is no such page.
    """
    app = FastAPI(title="Loraplex", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    routes = app.router.routes
    for resource in (chat, completions, responses):
        endpoint = GenerationRoute(resource.RESOURCE, generator, status)
        routes.append(Route(resource.PATH, endpoint, methods=["POST"], name=resource.RESOURCE.endpoint))
    routes.extend(responses.stored_routes())
    routes.append(Route(feedback.PATH, feedback.FeedbackRoute(desk), methods=["POST"], name="feedback"))
    routes.extend(models.routes(generator, status))
    routes.extend(health.routes(status))
    routes.extend(status_page.routes(board, authenticator, config.server.status_page))
    routes.append(Route("/admin/{rest:path}", _Elsewhere(apps.control), name="control"))
    knowledge = _Elsewhere(apps.knowledge or _no_knowledge)
    routes.extend(Route(path, knowledge, name="knowledge") for path in KNOWLEDGE_PATHS)
    trains = config.training is not None
    files = _Elsewhere(apps.knowledge or (apps.control if trains else _no_files))
    routes.extend(Route(path, files, name="files") for path in FILE_PATHS)
    fine_tuning = _Elsewhere(EventStream(apps.control) if trains else _no_training)
    routes.extend(Route(path, fine_tuning, name="fine_tuning") for path in FINE_TUNING_PATHS)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_middleware(
        GatewayMiddleware,
        authenticator=authenticator,
        metrics=metrics,
        max_body_bytes=config.server.max_body_bytes,
        max_file_bytes=config.max_file_bytes,
    )
    if tracer is not None:
        app.add_middleware(TracingMiddleware, tracer=tracer)
    return app
