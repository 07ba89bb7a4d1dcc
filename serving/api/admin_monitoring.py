"""The admin API of drift and output quality: thin routes over the desk."""

from fastapi import APIRouter, Request

from serving.api.monitoring_models import MonitoringView, ReferenceBody, ReferenceView, TaskMonitoringView
from serving.auth import Caller
from serving.errors import RouteNotFound
from serving.observing.desk import MonitoringDesk

PREFIX = "/admin/v1/monitoring"


class MonitoringApi:
    """The routes. ``request.state.caller`` is the administrator.

    Args:
        desk: None where the configuration has no section ``monitoring``.
    """

    def __init__(self, desk: MonitoringDesk | None) -> None:
        self._maybe_desk = desk

    def router(self) -> APIRouter:
        """All routes under ``/admin/v1/monitoring``."""
        router = APIRouter(prefix=PREFIX, tags=["monitoring"])
        router.add_api_route("", self.overview, methods=["GET"])
        router.add_api_route("/{task}", self.show, methods=["GET"])
        router.add_api_route("/{task}/reference", self.set_reference, methods=["POST"], status_code=202)
        return router

    async def overview(self) -> MonitoringView:
        """Drift, and quality by version, of every task of which something is known."""
        return MonitoringView(data=[TaskMonitoringView.of(report) for report in await self._desk().overview()])

    async def show(self, task: str) -> TaskMonitoringView:
        """Drift, and quality by version, of one task."""
        return TaskMonitoringView.of(await self._desk().task(task))

    async def set_reference(self, request: Request, task: str, body: ReferenceBody | None = None) -> ReferenceView:
        """Compare a task's live requests with another reference: its requests of late, or a version's training data.

        Answered before it is done; the task's `references` tell what came of it.
        """
        caller: Caller = request.state.caller
        version = None if body is None else body.version
        return ReferenceView.of(await self._desk().set_reference(task, version, actor=caller.name))

    def _desk(self) -> MonitoringDesk:
        if self._maybe_desk is None:
            raise RouteNotFound(
                "This gateway observes no answers: a section `monitoring: {}` in its configuration enables it."
            )
        return self._maybe_desk
