"""What every request passes: its id, its size, its caller, and the error envelope."""

import logging
from time import perf_counter

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.status import HTTP_204_NO_CONTENT, HTTP_404_NOT_FOUND, HTTP_405_METHOD_NOT_ALLOWED
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring.metrics import GatewayMetrics
from serving.api.wire import CONTEXT, RequestContext, open_context, send_error
from serving.auth import Authenticator
from serving.errors import (
    ERROR_TABLE,
    AuthenticationFailed,
    BodyTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    RouteNotFound,
    answer_for,
)
from serving.observability.context import begin_context

logger = logging.getLogger(__name__)

_STATUS_INTERNAL = 500
_UNKNOWN_KEY = ERROR_TABLE[AuthenticationFailed]
_ADMIN = "/admin/"
_METRICS = ("/metrics", "/metrics/targets")
_UPLOADS = "/v1/files"
_FORM_BYTES = 64 * 1024
"""What a multipart form adds to the file in it."""


class GatewayMiddleware:
    """Pure ASGI, outermost. Whatever is raised below becomes an answer in the OpenAI envelope."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        metrics: GatewayMetrics,
        max_body_bytes: int,
        max_file_bytes: int = 0,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = max(max_body_bytes, max_file_bytes + _FORM_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = open_context(scope)
        scope[CONTEXT] = context
        begin_context(context.request_id)
        id_header = (b"x-request-id", context.request_id.encode())
        received = 0
        limit = self._limit(scope)

        async def send_labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.answering = True
                if message["status"] == _UNKNOWN_KEY.status and scope["path"].startswith(_ADMIN):
                    # The admin app asks for the key itself, perhaps in another process.
                    self._metrics.request_refused(_UNKNOWN_KEY.code)
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise _too_large(limit)
            return message

        try:
            _check_address(scope)
            _check_length(context, limit)
            self._authenticate(scope, context)
            await self._app(scope, receive_limited, send_labelled)
        except Exception as error:
            await self._answer(context, error, send_labelled)

    def _limit(self, scope: Scope) -> int:
        return self._max_upload_bytes if scope["path"] == _UPLOADS else self._max_body_bytes

    def _authenticate(self, scope: Scope, context: RequestContext) -> None:
        """The API needs a key, and the metrics an administrator's or the scrapers' own. The admin app asks itself."""
        path = scope["path"]
        if scope["method"] == "OPTIONS" or not (path.startswith("/v1") or path in _METRICS):
            return
        header = context.headers.get(b"authorization")
        authorization = None if header is None else header.decode("latin-1")
        if path in _METRICS:
            context.caller = self._authenticator.admit_scraper(authorization)
        else:
            context.caller = self._authenticator.authenticate(authorization)

    async def _answer(self, context: RequestContext, error: Exception, send: Send) -> None:
        row = answer_for(error)
        if row.status == _STATUS_INTERNAL:
            seconds = perf_counter() - context.arrived
            logger.error("request %s failed after %.3f s", context.request_id, seconds, exc_info=error)
        if not context.counted:
            self._metrics.request_refused(row.code)
        # A second status is impossible: the server closes the connection of an answer that was left unfinished.
        if not context.answering:
            await send_error(send, error)


def _check_address(scope: Scope) -> None:
    # No id holds one, and PostgreSQL takes none in a text.
    if "\x00" in scope["path"]:
        raise RouteNotFound("Invalid URL: it holds a NUL character.")
    if b"%00" in scope.get("query_string", b""):
        raise InvalidRequest("The query of the URL holds a NUL character.")


def _check_length(context: RequestContext, limit: int) -> None:
    length = context.headers.get(b"content-length")
    if length is None:
        return
    if not length.isdigit():
        raise InvalidRequest("The header Content-Length is not a number.")
    if int(length) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than this gateway accepts ({limit} bytes).")


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """The router's own refusals: no such URL, or no such method on it. OPTIONS is answered with the methods."""
    where = f"{request.method} {request.url.path}"
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTP_404_NOT_FOUND:
        raise RouteNotFound(f"Invalid URL ({where}).")
    if error.status_code == HTTP_405_METHOD_NOT_ALLOWED:
        allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        if request.method == "OPTIONS":
            return Response(status_code=HTTP_204_NO_CONTENT, headers={"allow": f"{allow}, OPTIONS"})
        raise MethodNotAllowed(f"This URL does not take the method {request.method} ({where}).", allow=allow)
    raise InvalidRequest(error.detail)
