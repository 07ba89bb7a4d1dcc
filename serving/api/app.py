"""The HTTP surface of one replica."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from monitoring.metrics import GatewayMetrics
from serving.api import chat, completions, health, models, responses
from serving.api.generation import GenerationRoute
from serving.api.middleware import GatewayMiddleware, answer_http_exception
from serving.api.wire import GatewayStatus
from serving.auth import Authenticator
from serving.config import GatewayConfig
from serving.generate import Generator


class _Control:
    """Hands a request over as it is; the router would wrap a plain function."""

    def __init__(self, control: ASGIApp) -> None:
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._control(scope, receive, send)


def build_api(
    generator: Generator,
    config: GatewayConfig,
    authenticator: Authenticator,
    metrics: GatewayMetrics,
    status: GatewayStatus,
    control: ASGIApp,
) -> FastAPI:
    """The app. ``control`` answers ``/admin/*`` and asks for the admin role itself.

    The generation routes are plain ASGI: what FastAPI does for a route costs more than all of ours together.
    """
    app = FastAPI(title="Loraplex", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    routes = app.router.routes
    for resource in (chat, completions, responses):
        endpoint = GenerationRoute(resource.RESOURCE, generator, status)
        routes.append(Route(resource.PATH, endpoint, methods=["POST"], name=resource.RESOURCE.endpoint))
    routes.extend(responses.stored_routes())
    routes.extend(models.routes(generator, status))
    routes.extend(health.routes(status))
    routes.append(Route("/admin/{rest:path}", _Control(control), name="control"))
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_middleware(
        GatewayMiddleware,
        authenticator=authenticator,
        metrics=metrics,
        max_body_bytes=config.server.max_body_bytes,
    )
    return app
