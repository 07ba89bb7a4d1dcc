"""Bytes in and out: bodies, JSON answers and errors, without a framework's per-request cost."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import orjson
from starlette.types import Receive, Scope, Send

from monitoring.exposition import Format
from serving.auth import ANYONE, Caller
from serving.engine.protocol import JsonObject
from serving.errors import (
    AuthenticationFailed,
    InvalidJson,
    InvalidRequest,
    MethodNotAllowed,
    UnsupportedMediaType,
    answer_for,
    error_body,
)

Header = tuple[bytes, bytes]

CONTEXT = "loraplex"
"""Where the middleware leaves the RequestContext in the ASGI scope."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_DEEPEST = 100
"""Levels of nesting up to which a body is surely accepted; far deeper ones cannot be written back as JSON."""
_JSON_TYPE = (b"content-type", b"application/json")
_STATUS_UNAUTHORIZED = 401


class GatewayStatus(Protocol):
    """What the API asks about the replica that it fronts."""

    @property
    def ready(self) -> bool:
        """Whether generations are answered."""
        ...

    @property
    def message(self) -> str:
        """What the replica is doing, or why it is not ready."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What is not as it should be, though requests are answered."""
        ...

    async def metrics_text(self, form: Format = Format.TEXT, replica: str | None = None) -> bytes:
        """Everything that is measured, or what one replica measures.

        Raises ReplicaNotFound, NotReady, CatalogUnavailable.
        """
        ...

    async def replicas(self) -> Sequence[str]:
        """The replicas that can be asked for by name. Raises NotReady, CatalogUnavailable."""
        ...


@dataclass(slots=True)
class RequestContext:
    """What the middleware found out about one request."""

    headers: dict[bytes, bytes]
    """Lower-case names; of several headers with one name the last."""
    request_id: str
    """For the client: its own, or one that we made."""
    arrived: float
    caller: Caller = ANYONE
    answering: bool = False
    """Whether the response has started."""
    counted: bool = False
    """Whether the generation use case accounts for this request."""

    @property
    def engine_id(self) -> str:
        """For the engine, where ids must differ even if a client sends the same one twice."""
        return f"{self.request_id}-{os.urandom(4).hex()}"


def open_context(scope: Scope) -> RequestContext:
    """Read the headers once."""
    headers = dict(scope["headers"])
    return RequestContext(headers, _request_id(headers.get(b"x-request-id")), perf_counter())


def request_id_of(scope: Scope) -> str:
    """The id of a request that may have come through another process."""
    context: RequestContext | None = scope.get(CONTEXT)
    return context.request_id if context is not None else _request_id(dict(scope["headers"]).get(b"x-request-id"))


def _request_id(given: bytes | None) -> str:
    """The one that was sent, where it is as ids are; else a new one."""
    known = given is not None and _SANE_ID.fullmatch(given)
    return given.decode() if given is not None and known else f"req-{os.urandom(12).hex()}"


async def read_json(context: RequestContext, receive: Receive) -> JsonObject:
    """The request's body, a JSON object.

    Raises:
        UnsupportedMediaType, InvalidJson, InvalidRequest, and BodyTooLarge from ``receive``.
    """
    kind = context.headers.get(b"content-type")
    if kind is not None and not _is_json(kind):
        raise UnsupportedMediaType(
            f"Unsupported content type: `{kind.decode('latin-1')}`. Send the body as `application/json`."
        )
    body = parse_json(await read_body(receive))
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body


def _is_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


async def read_body(receive: Receive) -> bytes:
    """The whole body."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts = [body]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def parse_json(body: bytes) -> Any:
    """The value that ``body`` is JSON for. Raises InvalidJson."""
    try:
        value = orjson.loads(body)
        if body.count(b"{") + body.count(b"[") > _DEEPEST:
            orjson.dumps(value)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    except orjson.JSONEncodeError:
        raise InvalidJson("The body is not acceptable JSON: it is nested too deeply.") from None
    return value


async def send_json(send: Send, status: int, value: Any, headers: list[Header] | None = None) -> None:
    """Answer with ``value``."""
    await send_bytes(send, status, orjson.dumps(value), [_JSON_TYPE, *(headers or ())])


async def send_bytes(send: Send, status: int, body: bytes, headers: list[Header]) -> None:
    """Answer with ``body`` in one piece."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: Exception) -> None:
    """Answer with the OpenAI envelope for ``error``."""
    row = answer_for(error)
    extra: list[Header] = []
    if row.retry_after_s is not None:
        extra.append((b"retry-after", b"%d" % row.retry_after_s))
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", error.allow.encode()))
    if row.status == _STATUS_UNAUTHORIZED:
        challenge = error.challenge if isinstance(error, AuthenticationFailed) else "Bearer"
        extra.append((b"www-authenticate", challenge.encode()))
    await send_json(send, row.status, error_body(error), extra)
