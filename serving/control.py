"""The control plane's ASGI app: the admin API behind the admin role, and fine-tuning for all keys."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.admin import AdminApi
from serving.api.admin_life import LifeApi
from serving.api.admin_monitoring import MonitoringApi
from serving.api.files import FilesApi
from serving.api.fine_tuning import FineTuningApi
from serving.api.guarded import Guarded, answer_errors
from serving.auth import Authenticator, Caller
from serving.config import GatewayConfig
from serving.jobs.service import JobService
from serving.life.controller import LifeController
from serving.observability.audit import AuditLog
from serving.observing.desk import MonitoringDesk
from serving.rollout import Rollouts


def build_control(
    config: GatewayConfig,
    rollouts: Rollouts,
    authenticator: Authenticator,
    life: LifeController,
    jobs: JobService | None = None,
    monitoring: MonitoringDesk | None = None,
    audit: AuditLog | None = None,
) -> ASGIApp:
    """The app that answers ``/admin/*``; with ``jobs``, ``/v1/fine_tuning/*``, and ``/v1/files`` where they keep them.

    Nothing starts here; whoever made ``rollouts``, ``life``, ``jobs`` and ``monitoring`` starts and closes them.
    ``audit`` records every change; None: nothing does.
    """
    admin = Guarded(_admin_app(config, rollouts, life, monitoring), authenticator, Caller.require_admin, audit)
    if jobs is None:
        return admin
    return _ByPath(admin, Guarded(_jobs_app(rollouts, jobs), authenticator, lambda _: None, audit))


class _ByPath:
    """``/v1/*`` is for every key, the rest for administrators."""

    def __init__(self, admin: ASGIApp, api: ASGIApp) -> None:
        self._admin = admin
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._api if scope["type"] == "http" and scope["path"].startswith("/v1/") else self._admin
        await app(scope, receive, send)


def _jobs_app(rollouts: Rollouts, jobs: JobService) -> FastAPI:
    app = FastAPI(title="Loraplex jobs", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(FineTuningApi(jobs.desk, rollouts).router())
    if jobs.keeps_files:
        app.include_router(FilesApi(jobs.library).router())
    answer_errors(app)
    return app


def _admin_app(
    config: GatewayConfig, rollouts: Rollouts, life: LifeController, monitoring: MonitoringDesk | None
) -> FastAPI:
    app = FastAPI(
        title=f"Loraplex admin API: {config.model.public_name}",
        openapi_url="/admin/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(AdminApi(rollouts, life).router())
    app.include_router(LifeApi(life).router())
    app.include_router(MonitoringApi(monitoring).router())
    answer_errors(app)
    return app
