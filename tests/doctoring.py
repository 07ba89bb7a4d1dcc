"""The doctor against running gateways, with something in between that breaks one thing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.doctor.finding import Finding, Level
from serving.doctor.outside import examine
from serving.doctor.visit import Visit, Wishes
from serving.doctor.wire import Line
from tests.certificates import Certificate
from tests.lifecycle import until
from tests.live import listen, served

PROMPTLY = Wishes(patience_s=0.05)
"""Look again soon at what may only be on its way."""


@dataclass
class Answer:
    """A whole answer that a test may change before it is sent on."""

    status: int
    headers: MutableMapping[str, str]
    body: bytes

    def edit(self, change: Callable[[Any], None]) -> None:
        """Let ``change`` alter the JSON in the body."""
        data = json.loads(self.body)
        change(data)
        self.body = json.dumps(data).encode()


@dataclass
class Between:
    """Stands between client and gateway as a proxy does. It holds back whole every answer that it may change."""

    app: ASGIApp
    path: str
    change: Callable[[Answer], None]
    seen: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        start, *parts = messages
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        answer = Answer(start["status"], headers, b"".join(part.get("body", b"") for part in parts))
        self.change(answer)
        if "content-length" in answer.headers:
            answer.headers["content-length"] = str(len(answer.body))
        raw = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": answer.body})


async def look(url: str, *, key: str = "", wishes: Wishes = PROMPTLY, timeout_s: float = 20.0) -> list[Finding]:
    """Everything that the doctor finds."""
    return await asyncio.to_thread(lambda: list(examine(Visit(Line(url, key, timeout_s=timeout_s), wishes))))


async def look_through(
    app: ASGIApp, path: str, change: Callable[[Answer], None], *, wishes: Wishes = PROMPTLY
) -> list[Finding]:
    """Everything that the doctor finds where ``change`` is made to every answer of ``path``."""
    async with served(Between(app, path, change)) as url:
        return await look(url, wishes=wishes)


def of(found: list[Finding], check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in found if finding.check == check]


def only(found: list[Finding], check: str, level: Level) -> Finding:
    """The one finding of a check, which has this level; all others are no faults. A fault says what to do next."""
    [finding] = of(found, check)
    assert finding.level is level, finding
    others = [other for other in found if other.level is Level.FAIL and other is not finding]
    assert others == []
    assert finding.level not in (Level.WARN, Level.FAIL) or finding.next
    return finding


@asynccontextmanager
async def served_over_tls(app: ASGIApp, certificate: Certificate) -> AsyncIterator[str]:
    """Serve ``app`` with TLS; gives its address."""
    listener = listen()
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="critical",
        ws="none",
        ssl_certfile=str(certificate.chain),
        ssl_keyfile=str(certificate.key),
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started, "the server's start")
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()
