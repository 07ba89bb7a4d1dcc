"""The span of each request to the API: outermost, so that it sees the final status."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring import semconv
from monitoring.spans import Attribute, SpanBlock, Tracer
from serving.api.wire import CONTEXT, RequestContext

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_WHOLE = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/models",
        "/v1/files",
        "/v1/vector_stores",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/feedback",
        "/v1/fine_tuning/jobs",
    }
)
_BEGINNINGS = ("/v1/models/", "/v1/responses/", "/v1/files/", "/v1/vector_stores/", "/v1/fine_tuning/jobs/", "/admin/")
_TRACE_HEADERS = (b"traceparent", b"tracestate")
_SERVER_ERROR = 500


class TracingMiddleware:
    """Pure ASGI. Health checks and scrapes are no requests that anybody wants to see."""

    def __init__(self, app: ASGIApp, *, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Trace one request."""
        route = route_of(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        known = scope["method"] in _METHODS
        method = scope["method"] if known else semconv.HTTP_OTHER_METHOD
        name = f"{method if known else 'HTTP'} {route}"
        attributes = {semconv.HTTP_METHOD: method, semconv.HTTP_ROUTE: route}
        span = self._tracer.start(name, _trace_headers(scope["headers"]), attributes)
        status = 0

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with SpanBlock(span):
            try:
                await self._app(scope, receive, send_seen)
            finally:
                span.describe(_described(scope, status))
            if status >= _SERVER_ERROR:
                span.fail(str(status))


def route_of(path: str) -> str | None:
    """The route that a path is on: one of few, whatever is asked for. None for what is not traced."""
    if path in _WHOLE:
        return path
    return next((f"{beginning}{{rest}}" for beginning in _BEGINNINGS if path.startswith(beginning)), None)


def _trace_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The trace context. Of several headers ``tracestate``, all: they continue each other."""
    found: dict[str, str] = {}
    for raw, value in headers:
        if raw in _TRACE_HEADERS:
            name, text = raw.decode(), value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    return found


def _described(scope: Scope, status: int) -> dict[str, Attribute]:
    described: dict[str, Attribute] = {}
    if status:
        described[semconv.HTTP_STATUS] = status
    context: RequestContext | None = scope.get(CONTEXT)
    if context is not None:
        described[semconv.REQUEST_ID] = context.request_id
        # The admin app asks for the key itself, perhaps in another process.
        if scope["path"].startswith("/v1/"):
            described[semconv.CALLER] = context.caller.name
    return described
