"""The admin API: thin routes over the rollout use cases. Who may call it is decided before it is reached."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from adapters.errors import AliasNotFound
from serving.api.admin_models import (
    AdapterList,
    AdapterView,
    AddBody,
    AddedView,
    CanaryBody,
    EventList,
    EventView,
    ReplicaList,
    ReplicaView,
    RollbackBody,
    RolloutView,
    ShadowBody,
    VerificationView,
    VersionBody,
    VersionView,
)
from serving.api.life_models import ReportView
from serving.auth import Caller
from serving.errors import InvalidRequest
from serving.life.controller import LifeController
from serving.names import find_version
from serving.rollout import Rollouts

PREFIX = "/admin/v1"


class AdminApi:
    """The routes, over one ``Rollouts`` and one ``LifeController``. ``request.state.caller`` is the administrator."""

    def __init__(self, rollouts: Rollouts, life: LifeController) -> None:
        self._rollouts = rollouts
        self._life = life

    def router(self) -> APIRouter:
        """All routes under ``/admin/v1``."""
        router = APIRouter(prefix=PREFIX, tags=["adapters"])
        router.add_api_route("/adapters", self.list_adapters, methods=["GET"])
        router.add_api_route("/adapters", self.add, methods=["POST"], status_code=201)
        router.add_api_route("/adapters/{name}", self.show, methods=["GET"])
        router.add_api_route("/adapters/{name}/promote", self.promote, methods=["POST"])
        router.add_api_route("/adapters/{name}/canary", self.canary, methods=["POST"])
        router.add_api_route("/adapters/{name}/shadow", self.shadow, methods=["POST"])
        router.add_api_route("/adapters/{name}/rollback", self.rollback, methods=["POST"])
        router.add_api_route("/versions/{version}/pin", self.pin, methods=["POST"])
        router.add_api_route("/versions/{version}/unpin", self.unpin, methods=["POST"])
        router.add_api_route("/versions/{version}/verify", self.verify, methods=["POST"])
        router.add_api_route("/versions/{version}", self.remove, methods=["DELETE"])
        router.add_api_route("/replicas", self.replicas, methods=["GET"])
        router.add_api_route("/history", self.history, methods=["GET"])
        return router

    async def list_adapters(self) -> AdapterList:
        """Every adapter, its alias, its versions, and where they are held."""
        return AdapterList.of(await self._rollouts.overview())

    async def show(self, name: str) -> AdapterView | VersionView:
        """One adapter by its name, or one version by `name@digest`."""
        overview = await self._rollouts.overview()
        if "@" in name:
            view = VersionView.of(find_version(overview.snapshot, name), overview)
            reports = [ReportView.of(report, whole=False) for report in await self._life.reports(view.name)]
            return view.model_copy(update={"reports": reports})
        if name not in overview.by_adapter:
            some = list(overview.by_adapter)[:10]
            known = f"there are {', '.join(some)}" if some else "none was added yet"
            raise AliasNotFound(f"There is no adapter `{name}`; {known}.")
        return AdapterView.of(name, overview)

    async def add(self, request: Request, body: AddBody) -> AddedView:
        """Fetch, validate and store an adapter; with `promote`, make it the stable version."""
        result = await self._rollouts.add(body.name, body.source, actor=_actor(request), promote=body.promote)
        return AddedView.of(result, await self._rollouts.overview())

    async def promote(self, request: Request, name: str, body: VersionBody) -> RolloutView:
        """Make a version the stable one, once every live replica is ready to serve it."""
        return RolloutView.of(await self._rollouts.promote(name, body.version, actor=_actor(request)))

    async def canary(self, request: Request, name: str, body: CanaryBody) -> RolloutView:
        """Let a version answer a share of the callers; a share of 0 ends it."""
        actor = _actor(request)
        if body.share == 0:
            return RolloutView.of(await self._rollouts.end_canary(name, actor=actor))
        if body.version is None:
            raise InvalidRequest("`version` is needed: which one should be the canary?", param="version")
        return RolloutView.of(await self._rollouts.canary(name, body.version, body.share, actor=actor))

    async def shadow(self, request: Request, name: str, body: ShadowBody) -> RolloutView:
        """Send a copy of the traffic to a version, whose answers are measured and dropped; null ends it."""
        return RolloutView.of(await self._rollouts.shadow(name, body.version, actor=_actor(request)))

    async def rollback(self, request: Request, name: str, body: RollbackBody | None = None) -> RolloutView:
        """Drop the canary or, where there is none, return to the previous stable version."""
        return RolloutView.of(await self._rollouts.rollback(name, actor=_actor(request)))

    async def pin(self, request: Request, version: str) -> RolloutView:
        """Keep a version loaded on every replica."""
        return RolloutView.of(await self._rollouts.pin(version, actor=_actor(request)))

    async def unpin(self, request: Request, version: str) -> RolloutView:
        """Let a version leave the engine when its place is needed."""
        return RolloutView.of(await self._rollouts.unpin(version, actor=_actor(request)))

    async def verify(self, version: str) -> VerificationView:
        """Read the stored files again and check their digest and content."""
        return VerificationView.of(await self._rollouts.verify(version))

    async def remove(self, request: Request, version: str) -> RolloutView:
        """Forget a version that no alias and no pin uses."""
        return RolloutView.of(await self._rollouts.remove(version, actor=_actor(request)))

    async def replicas(self) -> ReplicaList:
        """The live replicas, and what each of them holds by its engine's own account."""
        overview = await self._rollouts.overview()
        return ReplicaList(data=[ReplicaView.of(report) for report in overview.replicas])

    async def history(self, alias: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> EventList:
        """The last changes, newest first."""
        return EventList(data=[EventView.of(event) for event in await self._rollouts.history(alias, limit)])


def _actor(request: Request) -> str:
    caller: Caller = request.state.caller
    return caller.name
