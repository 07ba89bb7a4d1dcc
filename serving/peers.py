"""One scrape sees all replicas: each replica shows its own metrics to the others, and asks the others for theirs."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from adapters.types import ReplicaReport
from monitoring.merge import merge

TIMEOUT_S = 2.0
"""How long a scrape waits for the slowest peer, in seconds."""

REMEMBERED_S = 30.0
"""A replica that has not reported for this long is no longer missed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerMetrics:
    """What the other replicas answered."""

    expositions: Mapping[str, bytes] = field(default_factory=dict)
    """Metrics in Prometheus text format, by replica."""
    silent: tuple[str, ...] = ()
    """Replicas that reported lately and did not answer in time."""


class Peers:
    """The other replicas of this gateway, as the catalog tells of them.

    Each replica listens on a port of its own, under a path that nobody can guess; its address, path included, is in
    its report, so that only who may read the catalog can ask. Nothing but metrics is served there.
    """

    def __init__(
        self,
        replica: str,
        reports: Callable[[float], Sequence[ReplicaReport]],
        render: Callable[[], bytes],
        *,
        host: str = "127.0.0.1",
    ) -> None:
        """``reports``: blocking; what replicas said within so many seconds. ``render``: this replica's own metrics."""
        self._replica = replica
        self._reports = reports
        self._render = render
        self._host = host
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> str:
        """Listen on a free port. Returns the address for this replica's reports. Raises OSError."""
        path = f"/{secrets.token_urlsafe(24)}/metrics"
        app = web.Application()
        app.router.add_get(path, self._show)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, 0).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False)
        port = runner.addresses[0][1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}{path}"

    async def stop(self) -> None:
        """Stop listening and asking. Safe to call twice, and before ``start``."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def collect(self) -> PeerMetrics:
        """The metrics of every other replica that reported lately. Never raises, and is bounded by ``TIMEOUT_S``."""
        if self._session is None:
            return PeerMetrics()
        try:
            known = await asyncio.wait_for(asyncio.to_thread(self._reports, REMEMBERED_S), TIMEOUT_S)
        except Exception:
            logger.warning("the catalog does not say which replicas there are", exc_info=True)
            return PeerMetrics()
        others = {
            report.replica: report.address for report in known if report.replica != self._replica and report.address
        }
        answers = await asyncio.gather(*(self._ask(self._session, address) for address in others.values()))
        by_replica = dict(zip(others, answers, strict=True))
        return PeerMetrics(
            expositions={replica: text for replica, text in by_replica.items() if text is not None},
            silent=tuple(replica for replica, text in by_replica.items() if text is None),
        )

    def merged(self, others: PeerMetrics) -> bytes:
        """This replica's metrics and ``others`` as one exposition."""
        return merge({self._replica: self._render(), **others.expositions})

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(body=self._render(), content_type="text/plain")

    @staticmethod
    async def _ask(session: aiohttp.ClientSession, address: str) -> bytes | None:
        try:
            async with session.get(address) as response:
                return await response.read() if response.status == web.HTTPOk.status_code else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
