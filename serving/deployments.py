"""Thin Ray Serve shells around the gateway: construct and delegate. Everything that crosses Ray is plain."""

from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

from retrieval.errors import KnowledgeError
from serving.config import GatewayConfig
from serving.jobs.launcher import Launcher
from serving.knowledge.protocol import SearchRequest, SearchResult
from serving.knowledge.remote import RemoteKnowledge
from serving.parts.ray_turn import Turn
from serving.process.orders import Orders
from serving.process.place import cluster_replica
from serving.process.reports import Reporter
from serving.relay import PlainRequest, PlainResponse, Relay, answer, control_timeout_s, unavailable

APPLICATION = "loraplex"
_LOGGING = LoggingConfig(enable_access_log=False)
_ON_THE_HEAD = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
"""Where a cluster has its head, and that is lost only with the cluster: other nodes come and go."""
_SURGE_PERCENT = 25
"""How many replicas more than wanted there may be during an update, in percent, rounded up."""


class Control:
    """The admin API, in a process of its own so that it cannot disturb generation.

    While another cluster of the same installation still has the turn, as during an upgrade, it answers 503.
    """

    async def __init__(self, orders: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
        from serving.control_plane import ControlPlane
        from serving.process.replica import prepare_process

        plain = Orders.from_plain(orders)
        prepare_process(plain, "control")
        self._config = plain.config
        self._reporter = Reporter(plain.reports, "control")
        self._plane: ControlPlane | None = None
        self._turn = Turn(plain, "control", self._reporter, self._start)
        await self._turn.begin()

    async def _start(self) -> None:
        from serving.control_plane import start_control_plane

        launcher = _launcher(self._config)
        self._plane = await start_control_plane(self._config, self._reporter.progress, launcher=launcher)

    async def handle(self, request: PlainRequest) -> PlainResponse:
        """Answer one HTTP request."""
        return unavailable("control") if self._plane is None else await answer(self._plane.app, request)

    async def check_health(self) -> None:
        """Ray replaces the process when this raises."""
        self._turn.require()

    async def __del__(self) -> None:
        """Ray awaits it after the last request."""
        await self._turn.end()
        if self._plane is not None:
            await self._plane.stop()
        await self._turn.give_back()


class Knowledge:
    """Files, vector stores and search, in a process of its own: it alone writes to the indexes.

    While another cluster of the same installation still has the turn, it searches and ingests nothing.
    """

    async def __init__(self, orders: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
        from serving.knowledge.service import KnowledgeService
        from serving.process.replica import prepare_process

        plain = Orders.from_plain(orders)
        prepare_process(plain, "knowledge")
        reporter = Reporter(plain.reports, "knowledge")
        try:
            self._service = KnowledgeService(plain.config)
            await self._service.start_reading()
        except Exception as error:
            reporter.failed(f"{error}" or type(error).__name__)
            raise
        service = self._service
        self._turn = Turn(plain, "knowledge", reporter, service.start_writing, meanwhile=service.look_again)
        await self._turn.begin()

    async def handle(self, request: PlainRequest) -> PlainResponse:
        """Answer one HTTP request."""
        return await answer(self._service.app, request)

    async def search(self, request: SearchRequest) -> SearchResult | KnowledgeError:
        """Answer one search. An error is returned: raised, it would arrive wrapped, with this process's traceback."""
        try:
            return await self._service.search(request)
        except KnowledgeError as error:
            return error

    async def metrics_text(self) -> bytes:
        """What is measured here."""
        return await self._service.metrics_text()

    async def check_health(self) -> None:
        """Ray replaces the process when this raises."""
        self._turn.require()

    async def __del__(self) -> None:
        """Ray awaits it after the last request."""
        await self._turn.end()
        await self._service.stop()
        await self._turn.give_back()


class Replica:
    """One gateway with its engine. Ray routes to it once the engine is ready and the app is built."""

    def __init__(
        self,
        orders: dict[str, Any],
        control: DeploymentHandle | None = None,
        knowledge: DeploymentHandle | None = None,
    ) -> None:
        from serving.process.replica import Replica as Inner
        from serving.process.replica import prepare_process

        plain = Orders.from_plain(orders)
        name = cluster_replica(serve.get_replica_context().rank.rank)
        prepare_process(plain, name)
        self._inner = Inner(
            plain,
            name,
            control=None if control is None else _relay(control, plain.config),
            peer_host=ray.util.get_node_ip_address() if plain.on_cluster else "127.0.0.1",
            knowledge=None if knowledge is None else _remote(knowledge),
        )

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Start the engine; then the app that Ray serves at this replica's own port."""
        await self._inner.start()
        return self._inner.app

    async def check_health(self) -> None:
        """Ray replaces the replica when this raises."""
        self._inner.check_health()

    async def __del__(self) -> None:
        """Ray awaits it after the last request of a replica that it stops."""
        await self._inner.stop()


def _launcher(config: GatewayConfig) -> Launcher | None:
    """Where jobs have GPUs, Ray gives them; without, a process beside the control plane needs nobody's leave."""
    if config.training is None or not config.training.gpus_per_job:
        return None
    from serving.jobs.ray_launcher import RayLauncher
    from serving.jobs.service import process_launcher

    process = process_launcher(config.training, on_ray=True)
    return RayLauncher(process, cpus=config.training.cpus_per_job or 0, gpus=config.training.gpus_per_job)


def _relay(handle: DeploymentHandle, config: GatewayConfig) -> Relay:
    async def call(request: PlainRequest) -> PlainResponse:
        response: PlainResponse = await handle.handle.remote(request)
        return response

    return Relay(call, timeout_s=control_timeout_s(config))


def _remote(handle: DeploymentHandle) -> RemoteKnowledge:
    async def search(request: SearchRequest) -> SearchResult:
        answered: SearchResult | KnowledgeError = await handle.search.remote(request)
        if isinstance(answered, KnowledgeError):
            raise answered
        return answered

    async def hand_over(request: PlainRequest) -> PlainResponse:
        response: PlainResponse = await handle.handle.remote(request)
        return response

    async def metrics_text() -> bytes:
        text: bytes = await handle.metrics_text.remote()
        return text

    return RemoteKnowledge(search, hand_over, metrics_text)


def machines() -> int:
    """On how many machines the cluster runs now; 1 outside of a cluster, where a configuration is only checked."""
    if not ray.is_initialized():
        return 1
    return len({node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]})


def build_application(orders: Orders) -> serve.Application:
    """The Ray Serve application: ``config.replicas`` gateways, one control process, and one that owns the indexes.

    A part that ``config.services`` names runs elsewhere and is no deployment.
    """
    config, plain = orders.config, orders.to_plain()
    parts = [_control().bind(plain) if config.services.control is None else None]
    if config.knowledge is not None and config.services.knowledge is None:
        parts.append(_knowledge().bind(plain))
    return _gateway(config).bind(plain, *parts)


def _gateway(config: GatewayConfig) -> serve.Deployment:
    return serve.deployment(
        serve.ingress(None)(Replica),
        name="Gateway",
        num_replicas=config.replicas,
        # A new version of the code or of the configuration: the replacement serves before the old replica drains, on
        # room that one replica more takes. Where there is none, the old ones go on serving.
        max_surge_percent=_SURGE_PERCENT,
        # Admission is the gateway's own business: it answers 429 in OpenAI's form.
        max_ongoing_requests=max(1024, config.limits.max_concurrent_requests * 4),
        ray_actor_options={"num_cpus": config.cpus_per_replica, "num_gpus": config.gpus_per_replica},
        health_check_period_s=1,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=config.server.drain_timeout_s + 2,
        graceful_shutdown_wait_loop_s=0.1,
        # The first start fails at once, with its reason; later ones are repeated for ever.
        max_constructor_retry_count=1,
        logging_config=_LOGGING,
    )


def _control() -> serve.Deployment:
    return serve.deployment(
        Control,
        name="Control",
        num_replicas=1,
        max_ongoing_requests=64,
        ray_actor_options=_ON_THE_HEAD,
        health_check_period_s=2,
        graceful_shutdown_timeout_s=5,
        graceful_shutdown_wait_loop_s=0.1,
        max_constructor_retry_count=1,
        logging_config=_LOGGING,
    )


def _knowledge() -> serve.Deployment:
    return serve.deployment(
        Knowledge,
        name="Knowledge",
        num_replicas=1,
        max_ongoing_requests=64,
        ray_actor_options=_ON_THE_HEAD,
        health_check_period_s=2,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=10,
        graceful_shutdown_wait_loop_s=0.1,
        max_constructor_retry_count=1,
        logging_config=_LOGGING,
    )
