"""Whether a replica can answer, and what it measures."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from monitoring.metrics import GatewayMetrics
from serving.errors import NotReady, answer_for, error_body
from serving.peers import Peers


class Status:
    """What ``/readyz`` and ``/metrics`` tell of one replica."""

    def __init__(self, metrics: GatewayMetrics, peers: Peers) -> None:
        self._metrics = metrics
        self._peers = peers
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
        return self._peers.merged(others)


def unavailable(message: str) -> ASGIApp:
    """An app that answers 503 in the OpenAI envelope."""
    error = NotReady(message)
    row = answer_for(error)
    return JSONResponse(error_body(error), status_code=row.status, headers={"retry-after": str(row.retry_after_s or 1)})
