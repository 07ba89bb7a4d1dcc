"""The admin API of reports and automatic rollouts: thin routes over the life of versions."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from serving.api.life_models import AutomaticRolloutView, ReportList, ReportView, RolloutBody
from serving.auth import Caller
from serving.life.controller import LifeController, Wishes

PREFIX = "/admin/v1"


class LifeApi:
    """The routes, over one ``LifeController``. ``request.state.caller`` is the administrator."""

    def __init__(self, life: LifeController) -> None:
        self._life = life

    def router(self) -> APIRouter:
        """All routes under ``/admin/v1``."""
        router = APIRouter(prefix=PREFIX, tags=["life"])
        router.add_api_route("/versions/{version}/reports", self.reports, methods=["GET"])
        router.add_api_route("/versions/{version}/reports", self.report, methods=["POST"], status_code=201)
        router.add_api_route("/adapters/{name}/rollout", self.rollout, methods=["GET"])
        router.add_api_route("/adapters/{name}/rollout", self.begin, methods=["POST"], status_code=201)
        router.add_api_route("/adapters/{name}/rollout", self.end, methods=["DELETE"])
        return router

    async def reports(self, version: str) -> ReportList:
        """Everything that was found out about a version, newest first."""
        return ReportList(data=[ReportView.of(report) for report in await self._life.reports(version)])

    async def report(self, request: Request, version: str, data: Annotated[dict[str, Any], Body()]) -> ReportView:
        """Attach a suite's run, a gate's verdict, or any `{kind, verdict, summary, body}` to a version."""
        return ReportView.of(await self._life.report(version, data, actor=_actor(request)))

    async def rollout(self, name: str) -> AutomaticRolloutView:
        """The last automatic rollout of an adapter, in progress or ended."""
        return AutomaticRolloutView.of((await self._life.rollouts(name))[0])

    async def begin(self, request: Request, name: str, body: RolloutBody) -> AutomaticRolloutView:
        """Begin an automatic rollout: shadow or canary, watched, and promoted or rolled back by itself."""
        wishes = Wishes(shadow=body.shadow, steps=body.steps, examine=body.examine)
        return AutomaticRolloutView.of(await self._life.begin(name, body.version, wishes, actor=_actor(request)))

    async def end(self, request: Request, name: str) -> AutomaticRolloutView:
        """End the automatic rollout in progress; the alias stays as it is."""
        return AutomaticRolloutView.of(await self._life.end(name, actor=_actor(request)))


def _actor(request: Request) -> str:
    caller: Caller = request.state.caller
    return caller.name
