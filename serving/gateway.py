"""Composition root: from a configuration to an ASGI app. Nothing is built at import."""

import asyncio
import uuid
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.catalog import Catalog
from adapters.store import ArtifactStore, DiskCache
from monitoring.metrics import GatewayMetrics
from monitoring.spans import Tracer
from serving.api.app import Apps, build_api
from serving.auth import Authenticator
from serving.config import FakeEngineSettings, GatewayConfig, OpenAIEngineSettings
from serving.control_plane import ControlPlane, start_control_plane
from serving.engine.protocol import AdapterCapacity, Engine, EngineError, EngineInfo, Progress
from serving.generate import Generator
from serving.grounding.token_counter import TokenCounter
from serving.jobs.launcher import Launcher
from serving.jobs.watch import JobWatch
from serving.knowledge.endpoint import Knowledge
from serving.life.feedback import FeedbackDesk
from serving.life.observer import Observer
from serving.measuring import Measuring, scraper_token
from serving.observability.tracing import CLOSE_S, build_tracer
from serving.observing.pipeline import Pipeline
from serving.observing.process import ObserverProcess, ObservingWorker
from serving.peers import Peers
from serving.residency import ReplicaResidency
from serving.status import Status, unavailable
from serving.status_board import StatusBoard

if TYPE_CHECKING:
    from serving.knowledge.service import KnowledgeService

HEALTH_INTERVAL_S = 0.25
"""How often the engine is asked whether it lives, in seconds."""


class Gateway:
    """One replica: the app, its engine, and what ties them to the shared state."""

    def __init__(
        self,
        config: GatewayConfig,
        engine: Engine,
        replica: str,
        control: ASGIApp | None,
        peer: tuple[str, int],
        *,
        knowledge: Knowledge | None = None,
        launcher: Launcher | None = None,
        observing: ObservingWorker | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._config = config
        self._engine = engine
        self._own_control: ControlPlane | None = None
        self._given_control = control
        self._launcher = launcher
        self._measuring = Measuring(config, engine, replica)
        self._metrics = self._measuring.metrics
        self._tracer = tracer or build_tracer(config.tracing, self._metrics, replica)
        self._catalog = Catalog(config.state.url)
        store = ArtifactStore(config.artifacts.url, config.artifacts.options)
        cache = DiskCache(config.adapters.cache_dir, config.adapters.cache_bytes, store)
        self._residency = ReplicaResidency(config, self._catalog, cache, engine, self._metrics, replica)
        self._own_knowledge = _own_knowledge(config) if knowledge is None else None
        knowledge = knowledge or self._own_knowledge
        self._count_tokens = TokenCounter(config)
        self._observer = Observer(config, self._catalog, self._metrics, replica)
        self._pipeline = _pipeline(config, self._metrics, replica, observing)
        self._generator = self._build_generator(knowledge)
        self._peers = Peers(replica, self._catalog.replicas, self._measuring.render, host=peer[0], port=peer[1])
        self._job_watch = None if config.training is None else JobWatch(config.state.url)
        self.status = Status(self._metrics, self._peers, knowledge, self._job_watch)
        self._board = self._build_board(replica, knowledge)
        self.app: FastAPI = self._build_api(knowledge)

    async def start(self, progress: Progress) -> EngineInfo:
        """Bring up the control plane (where it is ours), the engine, and the adapters that must be resident.

        The app may serve from before this is called; it answers 503 until this has returned.

        Raises:
            ConfigInvalid, AdapterError, EngineUnavailable: nothing is left running.
        """
        tell = self._telling(progress)
        try:
            if self._given_control is None:
                tell("Reading the adapter catalog")
                self._own_control = await start_control_plane(self._config, tell, launcher=self._launcher)
            else:
                await asyncio.to_thread(self._catalog.migrate)
            if self._own_knowledge is not None:
                tell("Opening the knowledge")
                await self._own_knowledge.start()
            await self._count_tokens.load()
            info = await self._engine.start(tell)
            self.status.warnings = (*self.status.warnings, *self._measuring.note_engine(info))
            self._residency.address = await self._peers.start()
            await self._residency.start(info)
            self._observer.start(lambda: self._residency.snapshot)
            if self._pipeline is not None:
                self._pipeline.start()
            await self._settle(tell)
        except BaseException:
            await self.stop()
            raise
        self.status.mark_ready()
        return info

    async def stop(self) -> None:
        """Refuse new generations, wait `server.drain_timeout_s` for those in progress, and release everything."""
        self.status.mark_not_ready("the gateway is stopping")
        await self._generator.drain(self._config.server.drain_timeout_s)
        await self._observer.stop()
        if self._pipeline is not None:
            await self._pipeline.stop()
        await self._peers.stop()
        await self._residency.stop()
        await self._engine.stop()
        if self._own_knowledge is not None:
            await self._own_knowledge.stop()
        if self._own_control is not None:
            await self._own_control.stop()
            self._own_control = None
        self._board.close()
        if self._job_watch is not None:
            await asyncio.to_thread(self._job_watch.close)
        await asyncio.to_thread(self._catalog.close)
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close, CLOSE_S)

    async def wait_for_death(self) -> None:
        """Return once the engine has died for good. Until then, say whether it is ready: a remote one may come back."""
        watching = asyncio.create_task(self._watch_health())
        try:
            await self._engine.dead()
        finally:
            watching.cancel()
        self.status.mark_not_ready("the engine died")

    async def _watch_health(self) -> None:
        while True:
            try:
                await self._engine.check_health()
            except EngineError as error:
                self.status.mark_not_ready(str(error))
            else:
                self.status.mark_ready()
            await asyncio.sleep(HEALTH_INTERVAL_S)

    async def _settle(self, tell: Progress) -> None:
        """Wait until the adapters that must be resident are, saying what is missing whenever that changes."""
        said = ""
        settled = asyncio.create_task(self._residency.until_settled())
        try:
            while not settled.done():
                await asyncio.wait({settled}, timeout=HEALTH_INTERVAL_S)
                if not settled.done() and (missing := self._residency.waiting_for()) != said:
                    said = missing
                    tell(said[:1].upper() + said[1:])
                await self._engine.check_health()
        finally:
            settled.cancel()

    def _telling(self, progress: Progress) -> Progress:
        def tell(line: str) -> None:
            self.status.mark_not_ready(line)
            progress(line)

        return tell

    def _build_generator(self, knowledge: Knowledge | None) -> Generator:
        return Generator(
            self._config,
            self._engine,
            self._residency,
            self._metrics,
            knowledge=knowledge,
            count_tokens=self._count_tokens,
            observer=self._observer,
            pipeline=self._pipeline,
        )

    def _build_board(self, replica: str, knowledge: Knowledge | None) -> StatusBoard:
        return StatusBoard(
            self._config,
            self._catalog,
            replica,
            status=self.status,
            snapshot=lambda: self._residency.snapshot,
            observer=self._observer,
            pipeline=self._pipeline,
            knowledge=knowledge,
        )

    def _build_api(self, knowledge: Knowledge | None) -> FastAPI:
        desk = None
        if self._config.feedback.enabled:
            desk = FeedbackDesk(self._config, self._observer, self._metrics, self._pipeline)
        return build_api(
            self._generator,
            self._config,
            Authenticator(self._config, metrics_token=scraper_token(self._config)),
            self._metrics,
            self.status,
            Apps(self._control, knowledge.app if knowledge is not None else None),
            desk,
            tracer=self._tracer,
            board=self._board,
        )

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The admin API, wherever it lives; a 503 before it is up."""
        control = self._own_control.app if self._own_control is not None else self._given_control
        await (control or unavailable("The gateway is starting."))(scope, receive, send)


def build_gateway(
    config: GatewayConfig,
    *,
    engine: Engine | None = None,
    replica: str | None = None,
    control: ASGIApp | None = None,
    peer_host: str = "127.0.0.1",
    peer_port: int = 0,
    knowledge: Knowledge | None = None,
    launcher: Launcher | None = None,
    observing: ObservingWorker | None = None,
    tracer: Tracer | None = None,
) -> Gateway:
    """One replica of the gateway that ``config`` describes, not yet started.

    Args:
        engine: what generates; default: the one that ``config.engine`` describes.
        replica: its name in metrics and reports; default: a random one.
        control: the app that answers ``/admin/*`` and fine-tuning; default: a control plane inside this gateway.
        peer_host: the address of this machine where other replicas of the same gateway reach it.
        peer_port: the port there; 0: a free one.
        knowledge: files, vector stores and search in another process; default: inside this gateway, where the
            configuration has a section for it.
        launcher: starts the trainers of a control plane inside this gateway; default: as processes on this machine.
        observing: looks at finished requests where the configuration has a section `monitoring`; default: a process of
            its own.
        tracer: traces requests; default: what the configuration asks for, which may be nothing.

    Raises:
        ConfigInvalid: an output contract cannot be compiled, or the environment lacks the token for scrapers.
    """
    name = replica or f"replica-{uuid.uuid4().hex[:8]}"
    return Gateway(
        config,
        engine or build_engine(config),
        name,
        control,
        (peer_host, peer_port),
        knowledge=knowledge,
        launcher=launcher,
        observing=observing,
        tracer=tracer,
    )


def _own_knowledge(config: GatewayConfig) -> "KnowledgeService | None":
    if config.knowledge is None:
        return None
    from serving.knowledge.service import KnowledgeService

    return KnowledgeService(config)


def _pipeline(
    config: GatewayConfig, metrics: GatewayMetrics, replica: str, observing: ObservingWorker | None
) -> Pipeline | None:
    if config.monitoring is None:
        return None
    return Pipeline(config.monitoring, metrics, observing or ObserverProcess(config, replica))


def build_engine(config: GatewayConfig) -> Engine:
    """The engine that the configuration asks for, not yet started."""
    if isinstance(config.engine, OpenAIEngineSettings):
        from serving.engine.openai_http import OpenAIHttpEngine

        return OpenAIHttpEngine(config.engine, config.model.public_name, config.adapters)
    if isinstance(config.engine, FakeEngineSettings):
        return _fake_engine(config, config.engine)
    from serving.engine.vllm import VllmEngine

    return VllmEngine(config.model, config.engine, config.adapters)


def _fake_engine(config: GatewayConfig, settings: FakeEngineSettings) -> Engine:
    from serving.engine.fake import FakeEngine

    limits = config.adapters
    capacity = AdapterCapacity(slots=limits.slots, cpu_slots=limits.cpu_slots, max_rank=limits.max_rank)
    return FakeEngine(
        config.model.public_name,
        capacity=capacity if limits.enabled else None,
        max_model_len=settings.max_model_len,
        token_s=settings.token_s,
    )
