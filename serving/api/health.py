"""``/healthz``, ``/readyz``, ``/metrics`` and ``/metrics/targets``."""

import re
from urllib.parse import parse_qs

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from monitoring.exposition import negotiate
from serving.api.wire import CONTEXT, GatewayStatus, RequestContext, send_bytes, send_json
from serving.errors import InvalidRequest, NotReady

_STATUS_OK = 200
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


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
        warnings = {"warnings": list(self._status.warnings)} if self._status.warnings else {}
        await send_json(send, _STATUS_OK, {"status": "ready", **warnings})


class _Metrics:
    """Everything that is measured; ``?replica=NAME``: by one replica."""

    def __init__(self, status: GatewayStatus) -> None:
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ReplicaNotFound, NotReady, CatalogUnavailable."""
        form = negotiate(_header(scope, b"accept"))
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("replica")
        text = await self._status.metrics_text(form, None if asked is None else asked[-1])
        await send_bytes(send, _STATUS_OK, text, [(b"content-type", form.value.encode()), (b"vary", b"accept")])


class _Targets:
    """Prometheus' HTTP service discovery: a scrape target for each replica, all at the address that was asked.

    A label ``replica`` would displace the one that the samples carry; ``instance`` names the replica instead.
    """

    def __init__(self, status: GatewayStatus) -> None:
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises InvalidRequest; NotReady and CatalogUnavailable, after which Prometheus keeps the targets it has."""
        address = _header(scope, b"host") or ""
        if _ADDRESS.fullmatch(address) is None:
            raise InvalidRequest("The header Host is no address that a scraper could ask.")
        targets = [
            {"targets": [address], "labels": {"instance": name, "__param_replica": name}}
            for name in await self._status.replicas()
        ]
        await send_json(send, _STATUS_OK, targets)


def _header(scope: Scope, name: bytes) -> str | None:
    context: RequestContext = scope[CONTEXT]
    value = context.headers.get(name)
    return None if value is None else value.decode("latin-1")


def routes(status: GatewayStatus) -> list[Route]:
    """The four."""
    return [
        Route("/healthz", _Healthz(), methods=["GET"], name="healthz"),
        Route("/readyz", _Readyz(status), methods=["GET"], name="readyz"),
        Route("/metrics", _Metrics(status), methods=["GET"], name="metrics"),
        Route("/metrics/targets", _Targets(status), methods=["GET"], name="metrics_targets"),
    ]
