"""FastAPI apps behind the gateway: who calls is asked first, and every refusal is in the OpenAI error envelope."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.errors import AdapterError
from retrieval.errors import KnowledgeError
from serving.api.audited import Audited
from serving.api.wire import request_id_of
from serving.auth import Authenticator, Caller
from serving.engine.protocol import EngineError
from serving.errors import (
    AuditUnavailable,
    GatewayError,
    InvalidJson,
    InvalidRequest,
    MethodNotAllowed,
    RouteNotFound,
    answer_for,
    error_body,
)
from serving.observability.audit import AuditLog
from serving.observability.context import begin_context, log_context

_EXPECTED = (GatewayError, AdapterError, KnowledgeError, EngineError, HTTPException, RequestValidationError, Exception)


def answer_errors(app: FastAPI) -> None:
    """Have ``app`` answer every error in the envelope."""
    for expected in _EXPECTED:
        app.add_exception_handler(expected, _answer_error)


class Guarded:
    """Lets callers through whom ``admit`` admits, as ``request.state.caller``; nobody else learns anything, not even
    which routes exist.

    Args:
        admit: raises a GatewayError for a caller who may not pass.
        audit: records what is changed, and what a known caller may not change; None: nothing is recorded.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        admit: Callable[[Caller], None],
        audit: AuditLog | None = None,
    ) -> None:
        self._plain = app
        self._audited = None if audit is None else Audited(app, audit)
        self._app: ASGIApp = self._audited or app
        self._authenticator = authenticator
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        if log_context() is None:
            begin_context(request_id_of(scope))
        try:
            caller = self._authenticator.authenticate(Headers(scope=scope).get("authorization"))
            await self._require(scope, caller)
            state = {**(scope.get("state") or {}), "caller": caller}
        except GatewayError as error:
            await _response(error)(scope, receive, send)
            return
        try:
            await self._app({**scope, "state": state}, receive, send)
        except AuditUnavailable as error:
            await _response(error)(scope, receive, send)

    async def _require(self, scope: Scope, caller: Caller) -> None:
        """Raises what ``admit`` raises. Callers without a key are not recorded: anybody could fill the disk so."""
        try:
            self._admit(caller)
        except GatewayError as error:
            if self._audited is not None:
                await self._audited.refused(scope, caller, error)
            raise


async def _answer_error(request: Request, error: Exception) -> Response:
    return _response(_translate(request, error))


def _translate(request: Request, error: Exception) -> Exception:
    """FastAPI's own refusals, as the gateway's."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return InvalidJson(f"The body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}.")
        # The first says what of the request; a field may have the same name.
        param = ".".join(map(str, first["loc"][1:])) or None
        message = first["msg"].removeprefix("Value error, ")
        return InvalidRequest(f"`{param}`: {message}." if param else f"The body is not valid: {message}.", param=param)
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return RouteNotFound(f"Unknown request URL: {request.method} {request.url.path}.")
        if error.status_code == 405:
            allow = (error.headers or {}).get("Allow", "")
            return MethodNotAllowed(f"Not allowed: {request.method} {request.url.path}.", allow=allow)
        return InvalidRequest(str(error.detail))
    return error


def _response(error: Exception) -> JSONResponse:
    answer = answer_for(error)
    headers = {"retry-after": str(answer.retry_after_s)} if answer.retry_after_s is not None else {}
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = error.allow
    return JSONResponse(error_body(error), status_code=answer.status, headers=headers)
