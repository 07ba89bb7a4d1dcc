"""The control plane's ASGI app: the admin API behind the admin role."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from serving.api.admin import AdminApi
from serving.api.admin_life import LifeApi
from serving.api.guarded import Guarded, answer_errors
from serving.auth import Authenticator, Caller
from serving.config import GatewayConfig
from serving.life.controller import LifeController
from serving.rollout import Rollouts


def build_control(
    config: GatewayConfig, rollouts: Rollouts, authenticator: Authenticator, life: LifeController
) -> ASGIApp:
    """The app that answers ``/admin/*``. Nothing starts here; whoever made ``rollouts`` and ``life`` does that."""
    app = FastAPI(
        title=f"Loraplex admin API: {config.model.public_name}",
        openapi_url="/admin/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(AdminApi(rollouts, life).router())
    app.include_router(LifeApi(life).router())
    answer_errors(app)
    return Guarded(app, authenticator, Caller.require_admin)
