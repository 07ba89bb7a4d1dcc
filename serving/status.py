"""Whether a replica can answer, and what it measures."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from adapters.errors import CatalogUnavailable
from monitoring.exposition import Format
from monitoring.jobs import REPLICA as CONTROL
from monitoring.knowledge import REPLICA as KNOWLEDGE
from monitoring.merge import merge
from monitoring.metrics import GatewayMetrics
from retrieval.errors import KnowledgeError
from serving.errors import NotReady, answer_for, error_body
from serving.jobs.watch import JobWatch
from serving.knowledge.endpoint import Knowledge
from serving.peers import Peers

logger = logging.getLogger(__name__)

SELF = "self"
"""Names the replica that answers, whichever it is."""

_TIMEOUT_S = 2.0
"""How long a scrape waits for what another process or the database has to tell, in seconds."""


class Status:
    """What ``/readyz`` and ``/metrics`` tell of one replica."""

    def __init__(
        self,
        metrics: GatewayMetrics,
        peers: Peers,
        knowledge: Knowledge | None = None,
        jobs: JobWatch | None = None,
    ) -> None:
        self._metrics = metrics
        self._peers = peers
        self._beside: dict[str, Callable[[], Awaitable[bytes]]] = {}
        """What tells metrics beside the replicas, by the name that it has there."""
        if knowledge is not None:
            self._beside[KNOWLEDGE] = knowledge.metrics_text
        if jobs is not None:
            self._beside[CONTROL] = jobs.metrics_text
        self._merging = asyncio.Lock()
        self.ready = False
        """Whether generations are answered."""
        self.message = "the gateway is starting"
        """What it is doing, or why it is not ready."""
        self.warnings: tuple[str, ...] = ()
        """What is not as it should be, though requests are answered."""

    def mark_ready(self) -> None:
        """From now on requests are answered."""
        if not self.ready:
            self.ready, self.message = True, "ready"

    def mark_not_ready(self, message: str) -> None:
        """From now on requests get a 503 that says ``message``."""
        self.ready, self.message = False, message

    async def metrics_text(self, form: Format = Format.TEXT, replica: str | None = None) -> bytes:
        """The metrics of all replicas and their engines, or of one.

        Args:
            replica: its name; ``self`` for this one, ``knowledge`` for the process that owns the indexes, ``control``
                for fine-tuning jobs.

        Raises:
            ReplicaNotFound, NotReady, CatalogUnavailable: the one replica cannot be had.
        """
        if replica is None:
            return await self._all(form)
        if replica not in self._beside:
            return await self._peers.of(self._peers.replica if replica == SELF else replica, form)
        told = await self._ask(replica)
        if told is None:
            raise NotReady(f"Nothing tells the metrics of `{replica}` now.")
        return await asyncio.to_thread(merge, [(replica, told)], form)

    async def replicas(self) -> Sequence[str]:
        """The names that :meth:`metrics_text` knows now, in order. Raises NotReady, CatalogUnavailable."""
        others = await self._peers.addresses()
        return sorted({self._peers.replica, *others, *self._beside})

    async def _all(self, form: Format) -> bytes:
        others, beside = await asyncio.gather(self._peers.collect(form), self._ask_beside())
        others = replace(others, expositions={**others.expositions, **beside})
        async with self._merging:
            self._metrics.set_silent_replicas(len(others.silent))
            merged = await self._peers.merged(others, form)
            # The next scrape may be another replica's: what this one missed is not missed for ever.
            self._metrics.set_silent_replicas(0)
        return merged

    async def _ask_beside(self) -> dict[str, bytes]:
        """What is told beside the replicas, where it is told in time."""
        told = await asyncio.gather(*map(self._ask, self._beside))
        return {name: text for name, text in zip(self._beside, told, strict=True) if text is not None}

    async def _ask(self, name: str) -> bytes | None:
        """What is told beside the replicas; None where it is not told in time."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._beside[name]()
        except (KnowledgeError, CatalogUnavailable, TimeoutError):
            logger.warning("the scrape is without the metrics of `%s`", name, exc_info=True)
            return None


def unavailable(message: str) -> ASGIApp:
    """An app that answers 503 in the OpenAI envelope."""
    error = NotReady(message)
    row = answer_for(error)
    return JSONResponse(error_body(error), status_code=row.status, headers={"retry-after": str(row.retry_after_s or 1)})
