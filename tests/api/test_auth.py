"""API keys over HTTP."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api.harness import BASE, STABLE, RunningGateway, config_of, run_gateway

HELLO: Any = [{"role": "user", "content": "hi"}]


def _key(name: str, secret: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "hash": "sha256:" + hashlib.sha256(secret.encode()).hexdigest(), **fields}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway with a key for one task, a key for everything and an administrator's key."""
    keys = [
        _key("web", "sk-web", models=["support", "triage@*"]),
        _key("all", "sk-all"),
        _key("ops", "sk-ops", models=[], admin=True),
    ]
    async with run_gateway(config_of(api_keys=keys), tmp_path) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/nothing", "/metrics"])
async def test_without_a_key_nothing_is_answered(guarded: RunningGateway, path: str) -> None:
    answer = await guarded.http.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_probes_need_no_key(guarded: RunningGateway) -> None:
    assert (await guarded.http.get("/healthz")).status_code == 200
    assert (await guarded.http.get("/readyz")).status_code == 200


async def test_a_wrong_key_is_an_authentication_error(guarded: RunningGateway) -> None:
    async with guarded.sdk("sk-wrong") as sdk:
        with pytest.raises(openai.AuthenticationError):
            await sdk.chat.completions.create(model="support", messages=HELLO)
    assert not guarded.engine.requests


async def test_a_key_reaches_what_it_may_use_and_nothing_else(guarded: RunningGateway) -> None:
    async with guarded.sdk("sk-web") as sdk:
        for model in ("support", STABLE):
            assert (await sdk.chat.completions.create(model=model, messages=HELLO)).system_fingerprint == STABLE
        for model in ("triage", BASE, "labels"):
            with pytest.raises(openai.PermissionDeniedError) as refusal:
                await sdk.chat.completions.create(model=model, messages=HELLO)
            assert refusal.value.param == "model"
            with pytest.raises(openai.PermissionDeniedError):
                await sdk.models.retrieve(model)
        with pytest.raises(openai.NotFoundError):
            await sdk.chat.completions.create(model="nope", messages=HELLO)
    assert len(guarded.engine.requests) == 2


async def test_the_list_shows_what_a_key_may_use(guarded: RunningGateway) -> None:
    async with guarded.sdk("sk-web") as sdk:
        names = {model.id async for model in sdk.models.list()}
    assert {name.partition("@")[0] for name in names} == {"support", "triage"}
    assert "triage" not in names
    async with guarded.sdk("sk-ops") as sdk:
        assert {"support", "triage", BASE} <= {model.id async for model in sdk.models.list()}


async def test_an_administrator_may_use_everything(guarded: RunningGateway) -> None:
    async with guarded.sdk("sk-ops") as sdk:
        for model in ("support", "triage", STABLE, BASE):
            assert (await sdk.chat.completions.create(model=model, messages=HELLO)).model == model


async def test_metrics_are_the_administrators(guarded: RunningGateway) -> None:
    for key, status in (("sk-web", 403), ("sk-all", 403), ("sk-ops", 200)):
        answer = await guarded.http.get("/metrics", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status


async def test_the_size_limit_comes_before_the_key(guarded: RunningGateway) -> None:
    answer = await guarded.http.post("/v1/completions", content=b"x" * (8 * 1024 * 1024 + 1))
    assert answer.status_code == 413
