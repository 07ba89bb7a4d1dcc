"""Whether a replica can answer, and what it measures."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from monitoring.metrics import GatewayMetrics
from serving.engine.protocol import Engine
from serving.errors import NotReady, answer_for, error_body


class Status:
    """What ``/readyz`` and ``/metrics`` tell of one replica."""

    def __init__(self, engine: Engine, metrics: GatewayMetrics) -> None:
        self._engine = engine
        self._metrics = metrics
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
        """This replica's metrics and its engine's, in Prometheus text format."""
        return self._metrics.render() + self._engine.metrics_text()


def unavailable(message: str) -> ASGIApp:
    """An app that answers 503 in the OpenAI envelope."""
    error = NotReady(message)
    row = answer_for(error)
    return JSONResponse(error_body(error), status_code=row.status, headers={"retry-after": str(row.retry_after_s or 1)})
