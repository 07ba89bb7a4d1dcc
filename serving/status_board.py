"""Reads what ``/status`` shows: from the catalog, and from this replica where the catalog is away."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Protocol

from adapters.catalog import Catalog
from adapters.errors import CatalogUnavailable
from adapters.types import AdapterEvent, CatalogSnapshot
from retrieval.errors import KnowledgeError
from serving.config import GatewayConfig
from serving.knowledge.endpoint import Knowledge
from serving.overview import Overview
from serving.replicas import LIVE_S
from serving.status_view import Facts, StatusView, status_view

FRESH_S = 1.0
"""How long a reading is shown again, in seconds: a page that is open to all must not be a way to the database."""

PATIENCE_S = 2.0
"""How long the page waits for another part, in seconds."""

CHANGES = 20
"""Lines of the history on the page."""


class Replica(Protocol):
    """What the page asks of the replica that it is on."""

    @property
    def ready(self) -> bool:
        """Whether generations are answered."""
        ...

    @property
    def message(self) -> str:
        """What it is doing, or why it is not ready."""
        ...


class Counting(Protocol):
    """What the page asks of the observer."""

    @property
    def behind(self) -> bool:
        """Whether what was counted could not be written lately."""
        ...


class Observing(Protocol):
    """What the page asks of what observes answers."""

    @property
    def impaired(self) -> bool:
        """Whether answers are not observed in full now."""
        ...


class StatusBoard:
    """One replica's. Reads at most once in ``FRESH_S``, however many ask.

    Args:
        replica: the name of this one.
        snapshot: the desired state that this replica serves by, for when the catalog cannot be read.
        pipeline: observes answers; None where the configuration has no section `monitoring`.
    """

    def __init__(
        self,
        config: GatewayConfig,
        catalog: Catalog,
        replica: str,
        *,
        status: Replica,
        snapshot: Callable[[], CatalogSnapshot],
        observer: Counting,
        pipeline: Observing | None = None,
        knowledge: Knowledge | None = None,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._replica = replica
        self._status = status
        self._snapshot = snapshot
        self._observer = observer
        self._pipeline = pipeline
        self._knowledge = knowledge
        self._lock = asyncio.Lock()
        self._view: StatusView | None = None
        self._read_at = 0.0
        self._closed = False
        # One thread: a database that hangs holds it, and nothing else of the process.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="status")

    async def view(self) -> StatusView:
        """The page as it is now, or was less than ``FRESH_S`` ago. Takes no longer than about ``PATIENCE_S``."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._view is None or loop.time() - self._read_at >= FRESH_S:
                self._view = status_view(self._config, self._replica, await self._read())
                self._read_at = loop.time()
            return self._view

    def close(self) -> None:
        """Release the thread. The page goes on without the catalog."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read(self) -> Facts:
        (overview, events, reachable), answers = await asyncio.gather(self._ask_catalog(), self._ask_knowledge())
        return Facts(
            overview=overview,
            events=events,
            catalog_reachable=reachable,
            knowledge_answers=answers,
            observer_behind=self._observer.behind,
            answers_observed=None if self._pipeline is None else not self._pipeline.impaired,
            ready=self._status.ready,
            message=self._status.message,
            at=datetime.now(UTC),
        )

    async def _ask_catalog(self) -> tuple[Overview, list[AdapterEvent], bool]:
        """The overview, the last changes, and whether they are the catalog's."""
        unknown = Overview(self._snapshot(), ()), list[AdapterEvent](), False
        if self._closed:
            return unknown
        try:
            async with asyncio.timeout(PATIENCE_S):
                loop = asyncio.get_running_loop()
                overview, events = await loop.run_in_executor(self._threads, self._read_catalog)
        except (CatalogUnavailable, TimeoutError):
            return unknown
        return overview, events, True

    def _read_catalog(self) -> tuple[Overview, list[AdapterEvent]]:
        overview = Overview(self._catalog.snapshot(), tuple(self._catalog.replicas(LIVE_S)))
        return overview, self._catalog.history(limit=CHANGES)

    async def _ask_knowledge(self) -> bool | None:
        if self._knowledge is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._knowledge.metrics_text()
        except (KnowledgeError, TimeoutError):
            return False
        return True
