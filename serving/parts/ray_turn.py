"""A part's turn where Ray starts it: it comes up at once, and begins its work when the turn is its own.

A new cluster beside the old one, as KubeRay makes for an upgrade, must be ready before the old one goes, and the old
one has the turn until then. So nothing waits here for the turn but the work itself.
"""

import asyncio
from collections.abc import Awaitable, Callable

from serving.parts.sole import SoleProcess, turn_of
from serving.parts.token import Part
from serving.process.orders import Orders
from serving.process.reports import Reporter


class Turn:
    """One deployment's.

    Args:
        start: begins the work; called once, when the turn is ours.
    """

    def __init__(self, orders: Orders, part: Part, reporter: Reporter, start: Callable[[], Awaitable[None]]) -> None:
        self._sole = SoleProcess(turn_of(orders.config.state.url, part), part)
        self._reporter = reporter
        self._start = start
        self._waiting: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin the work, now where nobody else does it, else later. Raises what ``start`` raises now."""
        try:
            if await self._sole.try_to_begin():
                await self._start()
                return
        except Exception as error:
            self._reporter.failed(f"{error}" or type(error).__name__)
            raise
        self._waiting = asyncio.create_task(self._begin_later())

    def require(self) -> None:
        """Raises what ``start`` raised later; RuntimeError once another process has the turn."""
        if self._waiting is not None and self._waiting.done() and not self._waiting.cancelled():
            self._waiting.result()
        self._sole.require()

    async def end(self) -> None:
        """Wait no longer."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)

    async def give_back(self) -> None:
        """Let the next one begin, after the work has ended."""
        await self._sole.end()

    async def _begin_later(self) -> None:
        await self._sole.begin(self._reporter.progress)
        await self._start()
