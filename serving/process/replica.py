"""What a replica's process does around its gateway, under Ray and without it."""

import asyncio
import logging
import os

from starlette.types import ASGIApp

from adapters.catalog import Catalog
from adapters.errors import CatalogUnavailable
from serving.config import GatewayConfig
from serving.gateway import Gateway, build_gateway
from serving.knowledge.endpoint import Knowledge
from serving.observability.logs import drain_logs, open_log, set_up_logging
from serving.parts.client import RemoteParts
from serving.process.inflight import InFlight
from serving.process.orders import Orders
from serving.process.reports import Reporter

EXIT_ENGINE_DEAD = 70
_LAST_WORDS_S = 2.0

logger = logging.getLogger(__name__)


class Replica:
    """One gateway with its engine, and the rule that the process ends when the engine does."""

    def __init__(
        self,
        orders: Orders,
        name: str,
        *,
        control: ASGIApp | None = None,
        peer_host: str = "127.0.0.1",
        peer_port: int = 0,
        knowledge: Knowledge | None = None,
    ) -> None:
        """``control``, ``knowledge``: as Ray gives them; default: where `services` says, else inside this gateway."""
        self._reporter = Reporter(orders.reports, name)
        self._remote = RemoteParts(orders.config)
        self._gateway: Gateway = build_gateway(
            orders.config,
            replica=name,
            control=control or self._remote.control,
            peer_host=peer_host,
            peer_port=peer_port,
            knowledge=knowledge or self._remote.knowledge,
        )
        self.app = InFlight(self._gateway.app)
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring the engine up. Raises what it raises, after telling the terminal why."""
        try:
            await self._gateway.start(self._reporter.progress)
        except Exception as error:
            self._reporter.failed(f"{error}" or type(error).__name__)
            raise
        self._watch = asyncio.get_running_loop().create_task(self._end_with_engine())

    async def stop(self) -> None:
        """Release the engine. Requests must have ended."""
        if self._watch is not None:
            self._watch.cancel()
        await self._gateway.stop()
        await self._remote.close()

    def check_health(self) -> None:
        """Raises RuntimeError once the engine is dead."""
        if self._watch is not None and self._watch.done():
            raise RuntimeError("the engine is dead")

    async def _end_with_engine(self) -> None:
        """Wait for the engine's death; let answers in progress say so to their clients; end the process."""
        await self._gateway.wait_for_death()
        logger.error("the engine died; this process ends and a new one takes its place")
        self._reporter.progress("The engine died; starting a new one")
        await self.app.wait_until_idle(_LAST_WORDS_S)
        # One turn of the loop, for the server to write what the app has sent.
        await asyncio.sleep(0)
        drain_logs()
        os._exit(EXIT_ENGINE_DEAD)


def summary(config: GatewayConfig, replicas: int) -> str:
    """What serves, such as ``SmolLM2-135M-Instruct, 2 adapters, 1 replica``. Blocking: it asks the catalog."""
    parts = [config.model.public_name]
    adapters = _adapters(config)
    if adapters:
        parts.append(_count(adapters, "adapter"))
    parts.append(_count(replicas, "replica"))
    return ", ".join(parts)


def _adapters(config: GatewayConfig) -> int:
    """How many aliases have a version that answers."""
    if not config.adapters.enabled:
        return 0
    try:
        catalog = Catalog(config.state.url)
        try:
            aliases = catalog.snapshot().aliases.values()
        finally:
            catalog.close()
    except CatalogUnavailable:
        return 0
    return sum(alias.stable is not None for alias in aliases)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def prepare_process(orders: Orders, name: str | None = None) -> None:
    """Set up this process as the operator meant it: working folder, thread settings and log.

    With ``name``, the log goes to a file of that name; where the folder of logs is not on this machine, and without
    ``name``, to standard error. Where no folder is known at all, somebody collects what many processes write there: as
    JSON, whatever the configuration says for people.
    """
    settings = orders.config.logging
    if orders.logs is None:
        settings = settings.model_copy(update={"format": "json"})
    to_file = orders.logs / f"{name}.log" if orders.logs is not None and name is not None else None
    set_up_logging(settings, open_log(to_file if to_file is not None and to_file.parent.is_dir() else None))
    if orders.folder is not None and orders.folder.is_dir():
        os.chdir(orders.folder)
    if orders.omp_threads is None:
        # Ray limits a worker to the number of cores that it reserves; the engine chooses better by itself.
        os.environ.pop("OMP_NUM_THREADS", None)
    else:
        os.environ["OMP_NUM_THREADS"] = orders.omp_threads
