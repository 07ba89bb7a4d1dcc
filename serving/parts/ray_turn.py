"""A part's turn where Ray starts it: it comes up at once, and begins its work when the turn is its own.

A new cluster beside the old one, as KubeRay makes for an upgrade, must be ready before the old one goes, and the old
one has the turn until then. So nothing waits here for the turn but the work itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serving.parts.sole import SoleProcess, turn_of
from serving.parts.token import Part
from serving.process.orders import Orders
from serving.process.reports import Reporter

MEANWHILE_S = 5.0
"""How often one that waits looks at what the other has changed, in seconds."""

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class Turn:
    """One deployment's.

    Args:
        start: begins the work; called once, when the turn is ours.
        meanwhile: called now and then until it is; what it raises is logged.
        meanwhile_s: see MEANWHILE_S.
    """

    def __init__(
        self,
        orders: Orders,
        part: Part,
        reporter: Reporter,
        start: Work,
        *,
        meanwhile: Work | None = None,
        meanwhile_s: float = MEANWHILE_S,
    ) -> None:
        self._meanwhile = meanwhile
        self._meanwhile_s = meanwhile_s
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
        looking = asyncio.create_task(self._look())
        try:
            await self._sole.begin(self._reporter.progress)
        finally:
            looking.cancel()
            await asyncio.wait({looking})
        await self._start()

    async def _look(self) -> None:
        while self._meanwhile is not None:
            await asyncio.sleep(self._meanwhile_s)
            try:
                await self._meanwhile()
            except Exception:
                logger.warning("what the other process has changed cannot be read now", exc_info=True)
