"""The HTTP surface of a part that runs as a process of its own."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from monitoring.silent import SilentMetrics
from retrieval.errors import KnowledgeError
from serving.api.middleware import GatewayMiddleware, answer_http_exception
from serving.api.wire import CONTEXT, RequestContext, read_body, send_bytes, send_json
from serving.auth import Authenticator
from serving.config import GatewayConfig
from serving.errors import NotReady, answer_for
from serving.knowledge.protocol import KnowledgeClient
from serving.measuring import scraper_token
from serving.parts.token import ServiceToken, service_token
from serving.parts.wire import METRICS_PATH, SEARCH_PATH, error_to_json, request_from_json, result_to_json

_OK = 200
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_JSON = (b"content-type", b"application/json")


class RunningPart(Protocol):
    """A control plane or a knowledge service, once it has started."""

    @property
    def app(self) -> ASGIApp:
        """Answers what the API has for it, after asking for the caller's key."""
        ...


Metrics = Callable[[], Awaitable[bytes]]


class PartApi:
    """``/healthz``, ``/readyz`` and ``/metrics`` around a part; for the knowledge process, searches of gateways too.

    It answers from its first moment: with 503, until :meth:`begin`.
    """

    def __init__(self, config: GatewayConfig, name: str) -> None:
        """``name``: of the part. Raises ConfigInvalid: the environment lacks the token for scrapers."""
        self._name = name
        self._part: RunningPart | None = None
        self._metrics: Metrics | None = None
        self._searcher: KnowledgeClient | None = None
        self._token = ServiceToken(service_token(config))
        self._message = "it is starting"
        self.app = self._build(config)

    def begin(self, part: RunningPart, metrics: Metrics, searcher: KnowledgeClient | None = None) -> None:
        """From now on requests are answered by ``part``. ``searcher``: what answers the searches of gateways."""
        self._metrics, self._searcher, self._part = metrics, searcher, part

    def wait(self, why: str) -> None:
        """Say why requests are not answered yet."""
        self._message = why

    def end(self) -> None:
        """From now on requests are refused: the part stops."""
        self._part, self._message = None, "it is stopping"

    def _build(self, config: GatewayConfig) -> FastAPI:
        app = FastAPI(title=f"Loraplex {self._name}", openapi_url=None, docs_url=None, redoc_url=None)
        for path, answer in (
            ("/healthz", self._healthz),
            ("/readyz", self._readyz),
            ("/metrics", self._show_metrics),
        ):
            app.router.routes.append(Route(path, _Plain(answer), methods=["GET"]))
        if self._name == "knowledge":  # The control process may have no token, and would show its metrics to everybody.
            shown, searched = _Plain(self._internal(self._show_metrics)), _Plain(self._internal(self._search))
            app.router.routes.append(Route(METRICS_PATH, shown, methods=["GET"]))
            app.router.routes.append(Route(SEARCH_PATH, searched, methods=["POST"]))
        app.router.routes.append(Mount("", _Plain(self._hand_over)))
        app.add_exception_handler(HTTPException, answer_http_exception)
        app.add_middleware(
            GatewayMiddleware,
            authenticator=Authenticator(config, metrics_token=scraper_token(config)),
            metrics=SilentMetrics(CollectorRegistry(), replica=self._name),
            max_body_bytes=config.server.max_body_bytes,
            max_file_bytes=config.max_file_bytes,
        )
        return app

    def _running(self) -> RunningPart:
        if self._part is None:
            raise NotReady(f"The {self._name} process is not ready: {self._message}.")
        return self._part

    async def _healthz(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, _OK, {"status": "ok"})

    async def _readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running()
        await send_json(send, _OK, {"status": "ready"})

    async def _show_metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running()
        text = b"" if self._metrics is None else await self._metrics()
        await send_bytes(send, _OK, text, [_TEXT])

    async def _search(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running()
        assert self._searcher is not None  # noqa: S101  (what owns the indexes searches)
        request = request_from_json(await read_body(receive))
        try:
            result = await self._searcher.search(request)
        except KnowledgeError as error:
            await send_bytes(send, answer_for(error).status, error_to_json(error), [_JSON])
            return
        await send_bytes(send, _OK, result_to_json(result), [_JSON])

    async def _hand_over(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._running().app(scope, receive, send)

    def _internal(self, app: ASGIApp) -> ASGIApp:
        async def admitted(scope: Scope, receive: Receive, send: Send) -> None:
            context: RequestContext = scope[CONTEXT]
            header = context.headers.get(b"authorization")
            self._token.require(None if header is None else header.decode("latin-1"))
            await app(scope, receive, send)

        return admitted


class _Plain:
    """Hands a request over as it is; the router would wrap a plain function."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
