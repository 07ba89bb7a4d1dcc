"""The list of models."""

import asyncio

import openai
import pytest

from adapters.types import Alias
from tests.api.harness import BASE, CANARY, SHADOW, STABLE, RunningGateway, snapshot


async def test_the_list_has_tasks_base_aliases_and_versions(client: openai.AsyncOpenAI) -> None:
    models = {model.id: model async for model in client.models.list()}
    assert {"support", "labels", "yesno", BASE, "triage", STABLE, CANARY, SHADOW} <= set(models)
    for name, parent in ((BASE, None), ("triage", BASE), (STABLE, BASE), ("support", BASE)):
        extra = models[name].model_extra
        assert extra is not None
        assert extra["parent"] == parent


@pytest.mark.parametrize("name", ["support", BASE, "triage", STABLE])
async def test_each_can_be_retrieved(gateway: RunningGateway, name: str) -> None:
    async with gateway.sdk() as sdk:
        assert (await sdk.models.retrieve(name)).id == name

    def retrieve() -> str:
        with gateway.sync_sdk() as sync:
            return sync.models.retrieve(name).id

    assert await asyncio.to_thread(retrieve) == name


@pytest.mark.parametrize("name", ["nope", "nope/with/slashes", "triage@99999999"])
async def test_an_unknown_one_is_not_found(client: openai.AsyncOpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as refusal:
        await client.models.retrieve(name)
    assert refusal.value.code == "model_not_found"


async def test_the_list_follows_the_catalog(gateway: RunningGateway) -> None:
    gateway.residency.snapshot = snapshot(Alias("other", stable="other@12345678"))
    async with gateway.sdk() as sdk:
        names = {model.id async for model in sdk.models.list()}
    assert {"other", "other@12345678"} <= names
    assert "support" not in names


async def test_head_has_the_headers_of_get_and_no_body(gateway: RunningGateway) -> None:
    get = await gateway.http.get("/v1/models")
    head = await gateway.http.head("/v1/models")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
