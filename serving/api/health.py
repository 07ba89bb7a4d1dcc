"""``/healthz``, ``/readyz`` and ``/metrics``."""

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.api.wire import GatewayStatus, send_bytes, send_json
from serving.errors import NotReady

_STATUS_OK = 200
_EXPOSITION = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class _Healthz:
    """The process answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, _STATUS_OK, {"status": "ok"})


class _Readyz:
    """Generations are answered."""

    def __init__(self, status: GatewayStatus) -> None:
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NotReady."""
        if not self._status.ready:
            raise NotReady(f"The gateway is not ready: {self._status.message}.")
        await send_json(send, _STATUS_OK, {"status": "ready"})


class _Metrics:
    """Everything that is measured."""

    def __init__(self, status: GatewayStatus) -> None:
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_bytes(send, _STATUS_OK, await self._status.metrics_text(), [_EXPOSITION])


def routes(status: GatewayStatus) -> list[Route]:
    """The three."""
    return [
        Route("/healthz", _Healthz(), methods=["GET"], name="healthz"),
        Route("/readyz", _Readyz(status), methods=["GET"], name="readyz"),
        Route("/metrics", _Metrics(status), methods=["GET"], name="metrics"),
    ]
