"""The control plane's app, without a server."""

from pathlib import Path

import httpx

from adapters.base_model import BaseModelSpec
from serving.auth import Authenticator
from serving.control import build_control
from serving.overview import Overview
from serving.rollout import Rollouts
from tests.lifecycle import World, world


class Broken(Rollouts):
    """Has a defect."""

    async def overview(self) -> Overview:
        raise RuntimeError("secret")


def client(it: World) -> httpx.AsyncClient:
    app = build_control(it.config, it.rollouts, Authenticator(it.config), it.life)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://control/admin/v1")


async def test_an_unexpected_error_is_a_500_that_says_nothing_of_its_inside(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it:
        await it.rollouts.close()
        it.rollouts = Broken(it.config, it.catalog, it.store, BaseModelSpec.from_checkpoint(it.base, "base"))
        async with client(it) as control:
            answer = await control.get("/adapters")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal_error"
        assert "secret" not in answer.text


async def test_a_catalog_that_is_away_is_a_503(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it, client(it) as control:
        it.catalog.close()
        (tmp_path / "state.db").unlink()
        answer = await control.get("/adapters")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "catalog_unavailable"


async def test_while_it_stops_it_says_so(tmp_path: Path) -> None:
    async with world(tmp_path, replicas=0) as it, client(it) as control:
        await it.rollouts.close()
        answer = await control.get("/adapters")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "not_ready"
