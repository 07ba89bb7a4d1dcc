"""Between who may change something and what changes it: every change is recorded, before and after."""

from collections.abc import MutableMapping
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.audit_actions import Found, action_of, details_of, object_of
from serving.api.wire import request_id_of
from serving.auth import Caller
from serving.errors import answer_for
from serving.observability.audit import AuditLog, Change, Outcome, Result

UNRECORDED = (b"x-loraplex-audit", b"not-recorded")
"""Header of the answer to a change whose record is not whole."""

_MOST_BYTES = 64 * 1024
"""Of a body, sent or answered, that is looked into. Larger ones are uploads."""
_CLIENT_ERROR = 400
_SERVER_ERROR = 500


class Audited:
    """Hands requests to ``app``, whose answers are JSON and small where something changes."""

    def __init__(self, app: ASGIApp, audit: AuditLog) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises AuditUnavailable, before anything has changed."""
        found = action_of(scope["method"], scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        body, receive = await _peek(scope, receive)
        change = _change(scope, found, scope["state"]["caller"], body)
        begun = await self._audit.begin(change)
        answer = _Answer()
        try:
            await self._app(scope, receive, answer.take)
        except BaseException as error:
            outcome = Outcome("failed", answer.status or _SERVER_ERROR, code=_code(error))
            await self._end(change, outcome, answer, send, begun=begun)
            raise
        await self._end(change, answer.outcome(), answer, send, begun=begun)

    async def refused(self, scope: Scope, caller: Caller, error: Exception) -> None:
        """Record that a known caller may not do what it asked for. Never raises."""
        found = action_of(scope["method"], scope["path"])
        if found is not None:
            row = answer_for(error)
            await self._audit.end(_change(scope, found, caller, None), Outcome("refused", row.status, code=row.code))

    async def _end(self, change: Change, outcome: Outcome, answer: "_Answer", send: Send, *, begun: bool) -> None:
        ended = await self._audit.end(change, outcome)
        if not (begun and ended):
            answer.add_header(UNRECORDED)
        await answer.give(send)


class _Answer:
    """Holds an answer back until it is recorded."""

    def __init__(self) -> None:
        self.status = 0
        self._messages: list[Message] = []

    async def take(self, message: Message) -> None:
        """A part of the answer, from the app."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self._messages.append(message)

    async def give(self, send: Send) -> None:
        """Send what was held back."""
        for message in self._messages:
            await send(message)

    def add_header(self, header: tuple[bytes, bytes]) -> None:
        """Say something more in the answer's head."""
        for message in self._messages:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]

    def outcome(self) -> Outcome:
        """What the answer says came of the change."""
        body = _json(b"".join(message.get("body", b"") for message in self._messages))
        if self.status >= _CLIENT_ERROR:
            result: Result = "refused" if self.status < _SERVER_ERROR else "failed"
            return Outcome(result, self.status, code=_text(body.get("error"), "code"))
        return Outcome("ok", self.status, made=_text(body.get("version"), "name") or _text(body, "id"))


def _change(scope: Scope, found: Found, caller: Caller, body: bytes | None) -> Change:
    action, thing, others = found
    fields = _json(body or b"")
    return Change(
        action=action.name,
        object=thing or object_of(action, fields),
        actor=caller.name,
        admin=caller.admin,
        request_id=request_id_of(scope),
        details={**others, **details_of(action, fields)},
    )


async def _peek(scope: Scope, receive: Receive) -> tuple[bytes | None, Receive]:
    """The body where it is small and JSON, else None; and a ``receive`` that gives once more what was read of it."""
    headers = dict(scope["headers"])
    length, kind = headers.get(b"content-length", b"0"), headers.get(b"content-type", b"application/json")
    if not length.isdigit() or int(length) > _MOST_BYTES or b"json" not in kind.lower():
        return None, receive
    messages: list[Message] = []
    size = 0
    while size <= _MOST_BYTES:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    body = b"".join(message.get("body", b"") for message in messages) if size <= _MOST_BYTES else None
    again = iter(messages)

    async def once_more() -> Message:
        return next(again, None) or await receive()

    return body, once_more


def _json(body: bytes) -> MutableMapping[str, Any]:
    """The object that ``body`` is; empty for anything else."""
    if len(body) > _MOST_BYTES:
        return {}
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any, name: str) -> str | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _code(error: BaseException) -> str:
    return answer_for(error).code if isinstance(error, Exception) else "cancelled"
