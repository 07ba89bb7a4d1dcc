"""Whether a replica can answer, and what it measures."""

import asyncio
import logging
from dataclasses import replace

from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from monitoring.knowledge import REPLICA
from monitoring.metrics import GatewayMetrics
from retrieval.errors import KnowledgeError
from serving.errors import NotReady, answer_for, error_body
from serving.knowledge.endpoint import Knowledge
from serving.peers import Peers

logger = logging.getLogger(__name__)

_KNOWLEDGE_TIMEOUT_S = 2.0


class Status:
    """What ``/readyz`` and ``/metrics`` tell of one replica."""

    def __init__(self, metrics: GatewayMetrics, peers: Peers, knowledge: Knowledge | None = None) -> None:
        self._metrics = metrics
        self._peers = peers
        self._knowledge = knowledge
        self.ready = False
        """Whether generations are answered."""
        self.message = "the gateway is starting"
        """What it is doing, or why it is not ready."""

    def mark_ready(self) -> None:
        """From now on requests are answered."""
        if not self.ready:
            self.ready, self.message = True, "ready"

    def mark_not_ready(self, message: str) -> None:
        """From now on requests get a 503 that says ``message``."""
        self.ready, self.message = False, message

    async def metrics_text(self) -> bytes:
        """The metrics of all replicas and their engines, in Prometheus text format."""
        others = await self._peers.collect()
        self._metrics.set_silent_replicas(len(others.silent))
        if self._knowledge is not None:
            try:
                async with asyncio.timeout(_KNOWLEDGE_TIMEOUT_S):
                    own = await self._knowledge.metrics_text()
                others = replace(others, expositions={**others.expositions, REPLICA: own})
            except (KnowledgeError, TimeoutError):
                logger.warning("the process that owns the indexes gives no metrics", exc_info=True)
        return self._peers.merged(others)


def unavailable(message: str) -> ASGIApp:
    """An app that answers 503 in the OpenAI envelope."""
    error = NotReady(message)
    row = answer_for(error)
    return JSONResponse(error_body(error), status_code=row.status, headers={"retry-after": str(row.retry_after_s or 1)})
