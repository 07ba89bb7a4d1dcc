"""One scrape sees all replicas: each replica shows its own metrics to the others, and asks the others for theirs."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from adapters.types import ReplicaReport
from monitoring.exposition import Format, negotiate
from monitoring.merge import merge
from serving.errors import ConfigInvalid, NotReady, ReplicaNotFound

TIMEOUT_S = 2.0
"""How long a scrape waits to learn who the peers are, and then for the slowest of them, in seconds."""

REMEMBERED_S = 30.0
"""A replica that has not reported for this long is no longer missed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerMetrics:
    """What the other replicas answered."""

    expositions: Mapping[str, bytes] = field(default_factory=dict)
    """Metrics by replica, each in one of the two formats."""
    silent: tuple[str, ...] = ()
    """Replicas that reported lately and did not answer in time."""


class Peers:
    """The other replicas of this gateway, as the catalog tells of them.

    Each replica listens on a port besides the API's, under a path that nobody can guess; its address, path included,
    is in its report, so that only who may read the catalog can ask. Nothing but metrics is served there.
    """

    def __init__(
        self,
        replica: str,
        reports: Callable[[float], Sequence[ReplicaReport]],
        render: Callable[[Format], bytes],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """``reports``: blocking; what replicas said within so many seconds. ``render``: this replica's own metrics.
        ``host`` and ``port``: where the others reach this replica; port 0: a free one.
        """
        self.replica = replica
        """This replica's name."""
        self._reports = reports
        self._render = render
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        # Threads of our own: where the database hangs, no more of them do than these.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="peers")

    async def start(self) -> str:
        """Listen. Returns the address for this replica's reports. Raises ConfigInvalid: it is not to be had."""
        path = f"/{secrets.token_urlsafe(24)}/metrics"
        app = web.Application()
        app.router.add_get(path, self._show)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigInvalid(
                f"the other gateways cannot reach this one at {self._host}:{self._port}: {error.strerror or error}; "
                "name an address of this machine and a free port, in LORAPLEX_PEER_HOST and LORAPLEX_PEER_PORT"
            ) from error
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
        self._threads.shutdown(wait=False)

    async def addresses(self) -> dict[str, str]:
        """Every other replica that reported lately, and where it shows its metrics; none before ``start``.

        Raises:
            NotReady: the state database did not answer in time.
            CatalogUnavailable: it cannot be read.
        """
        if self._session is None:
            return {}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                known = await asyncio.get_running_loop().run_in_executor(self._threads, self._reports, REMEMBERED_S)
        except TimeoutError:
            raise NotReady("The state database does not say in time which replicas there are.") from None
        return {report.replica: report.address for report in known if report.replica != self.replica and report.address}

    async def collect(self, form: Format = Format.TEXT) -> PeerMetrics:
        """The metrics of every other replica that reported lately. Never raises; takes two ``TIMEOUT_S`` at most."""
        try:
            others = await self.addresses()
        except Exception:
            logger.warning("the catalog does not say which replicas there are", exc_info=True)
            return PeerMetrics()
        answers = await asyncio.gather(*(self._ask(address, form) for address in others.values()))
        by_replica = dict(zip(others, answers, strict=True))
        return PeerMetrics(
            expositions={replica: text for replica, text in by_replica.items() if text is not None},
            silent=tuple(replica for replica, text in by_replica.items() if text is None),
        )

    async def of(self, replica: str, form: Format = Format.TEXT) -> bytes:
        """The metrics of one replica, this one or another.

        Raises:
            ReplicaNotFound: none of that name reported lately.
            NotReady: it does not answer.
            CatalogUnavailable: who reported cannot be read.
        """
        if replica == self.replica:
            return await asyncio.to_thread(self._render, form)
        address = (await self.addresses()).get(replica)
        if address is None:
            raise ReplicaNotFound("No replica of that name reported lately.", param="replica")
        answer = await self._ask(address, form)
        if answer is None:
            raise NotReady("The replica reported lately and does not answer.")
        # It may be of another release, and answer in a format of its own choice.
        return await asyncio.to_thread(merge, [(replica, answer)], form)

    async def merged(self, others: PeerMetrics, form: Format = Format.TEXT) -> bytes:
        """This replica's metrics and ``others`` as one exposition. Written in a thread: it takes milliseconds."""
        return await asyncio.to_thread(self._merge, others, form)

    def _merge(self, others: PeerMetrics, form: Format) -> bytes:
        return merge([(self.replica, self._render(form)), *others.expositions.items()], form)

    async def _show(self, request: web.Request) -> web.Response:
        form = negotiate(request.headers.get("accept"))
        body = await asyncio.to_thread(self._render, form)
        return web.Response(body=body, headers={"content-type": form.value})

    async def _ask(self, address: str, form: Format) -> bytes | None:
        if self._session is None:
            return None
        try:
            async with self._session.get(address, headers={"accept": form.value}) as response:
                return await response.read() if response.status == web.HTTPOk.status_code else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
