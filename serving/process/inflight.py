"""Counting the answers that are being sent, so that a process ends after their last byte and not before."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send


class InFlight:
    """An ASGI app around ``app`` that knows how many requests it is answering."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._count += 1
        self._idle.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._count -= 1
            if self._count == 0:
                self._idle.set()

    @property
    def count(self) -> int:
        """Requests being answered now."""
        return self._count

    async def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no request is being answered. False if ``timeout_s`` passed first."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
