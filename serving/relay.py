"""Handing a whole HTTP request to an app in another process, as plain values.

The replica's app sends ``/admin/*`` to the control deployment this way, so that clients see one address.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.wire import CONTEXT, RequestContext
from serving.config import GatewayConfig
from serving.errors import NotReady, answer_for, error_body

Headers = list[tuple[bytes, bytes]]
PlainRequest = tuple[str, str, bytes, Headers, bytes]
"""Method, path, query string, headers, body."""
PlainResponse = tuple[int, Headers, bytes]
"""Status, headers, body."""
Call = Callable[[PlainRequest], Awaitable[PlainResponse]]

_CONTROL_TIMEOUT_MARGIN_S = 30.0

logger = logging.getLogger(__name__)


class Relay:
    """An ASGI app that answers with what ``call`` returns. Neither side streams. ``to``: the other process's name."""

    def __init__(self, call: Call, *, timeout_s: float, to: str = "control") -> None:
        self._call = call
        self._timeout_s = timeout_s
        self._to = to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a 503 if the other process does not."""
        if scope["type"] != "http":
            return
        body = await _read_body(receive)
        if body is None:
            return
        path = scope.get("root_path", "") + scope["path"] if _is_mounted(scope) else scope["path"]
        request: PlainRequest = (scope["method"], path, scope["query_string"], _headers(scope), body)
        try:
            response = await asyncio.wait_for(self._call(request), self._timeout_s)
        except Exception:
            logger.exception("the %s process did not answer %s %s", self._to, scope["method"], path)
            response = unavailable(self._to)
        await _send_response(response, send)


def _is_mounted(scope: Scope) -> bool:
    """Whether a router took the mount's prefix off ``path`` (Starlette keeps it since 0.33)."""
    return not scope["path"].startswith(scope.get("root_path", ""))


def _headers(scope: Scope) -> Headers:
    """The request's headers, with the id that the gateway knows it by."""
    headers: Headers = list(scope["headers"])
    context: RequestContext | None = scope.get(CONTEXT)
    if context is None:
        return headers
    others = [(name, value) for name, value in headers if name != b"x-request-id"]
    return [*others, (b"x-request-id", context.request_id.encode())]


def control_timeout_s(config: GatewayConfig) -> float:
    """How long an answer of the control process may take: a promotion waits for every replica. In seconds."""
    return config.adapters.load_timeout_s * 2 + _CONTROL_TIMEOUT_MARGIN_S


def unavailable(to: str) -> PlainResponse:
    """The answer for a process that is away: 503 in one sentence. ``to``: its name."""
    error = NotReady(f"The {to} process is starting or restarting; try again in a moment.")
    row = answer_for(error)
    headers = [(b"content-type", b"application/json"), (b"retry-after", str(row.retry_after_s or 1).encode())]
    return row.status, headers, orjson.dumps(error_body(error))


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None where the caller left before its end, and nobody waits for an answer."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return b"".join(parts)


async def _send_response(response: PlainResponse, send: Send) -> None:
    status, headers, body = response
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer(app: ASGIApp, request: PlainRequest) -> PlainResponse:
    """Run one request through ``app``. Raises what the app raises, RuntimeError if it does not answer."""
    method, path, query, headers, body = request
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }
    incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status = 0
    out_headers: Headers = []
    parts: list[bytes] = []

    async def receive() -> Message:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            out_headers.extend((bytes(name), bytes(value)) for name, value in message.get("headers", ()))
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    if not status:
        raise RuntimeError(f"the control app did not answer {method} {path}")
    return status, out_headers, b"".join(parts)
