"""Two gateways, control and knowledge as processes of their own, over one PostgreSQL: as on Kubernetes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.adapter_factory import make_adapter, make_base
from tests.embedding_server import embedding_server
from tests.integration.instance import Instance, Load, lasting_ports
from tests.knowledge_live import key_of, made, settled, uploaded
from tests.lifecycle import until
from tests.postgres_server import PASSWORD, USER, PostgresServer

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

ALIAS = "triage"
DESK = "desk"


@dataclass
class House:
    """Everything that runs, and the way to it."""

    control: Instance
    knowledge: Instance
    gateways: list[Instance]
    standby: Instance
    """Another control process, not started."""
    folder: Path

    def http(self, number: int, key: str = "ops", under: str = "/v1/") -> httpx.AsyncClient:
        """One of the gateways."""
        headers = {"authorization": f"Bearer {key}"}
        url = f"{self.gateways[number].url}{under}"
        return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False)

    async def chat(self, number: int, model: str, key: str = "ops") -> httpx.Response:
        """One short answer."""
        body = {"model": model, "messages": [{"role": "user", "content": "When is tea served?"}], "max_tokens": 8}
        async with self.http(number, key) as http:
            return await http.post("chat/completions", json=body)


def _settings(folder: Path, state: str, embeddings: str, ports: dict[str, int]) -> dict[str, Any]:
    services = {name: {"url": f"http://127.0.0.1:{ports[name]}"} for name in ("control", "knowledge")}
    return {
        "model": {"id": str(folder / "tiny"), "name": "tiny"},
        "engine": {"kind": "fake"},
        "adapters": {"cache_dir": str(folder / "cache")},
        "tasks": {DESK: {"retrieval": {"knowledge": ["house"], "min_score": 0.0, "when_down": "degrade"}}},
        "knowledge": {
            "index": {"uri": str(folder / "milvus.db")},
            "cache_dir": str(folder / "vectors"),
            "embedder": {"url": embeddings, "model": "words", "max_tokens": 128},
        },
        "services": services,
        "state": {"url": state},
        "artifacts": {"url": str(folder / "artifacts")},
        "logging": {"audit": {"file": str(folder / "audit.jsonl")}},
        "api_keys": [
            key_of("ops", admin=True),
            key_of("hr", labels=["hr"], writes_knowledge=True),
            key_of("guest"),
        ],
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> AsyncIterator[House]:
    """All of them, started at once: none of them waits for another."""
    folder = tmp_path_factory.mktemp("house")
    make_adapter(folder / ALIAS, make_base(folder / "tiny"), scale=0.5)
    database = postgres_server.new_database().rpartition("/")[2]
    state = f"postgresql://{USER}@127.0.0.1:{postgres_server.port}/{database}"
    ports = dict(zip(("control", "knowledge", "first", "second", "standby"), lasting_ports(5), strict=True))

    with embedding_server() as embeddings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)
        patch.setenv("LORAPLEX_SERVICE_TOKEN", "a long random text")
        settings = _settings(folder, state, embeddings, ports)

        def instance(name: str, *arguments: str) -> Instance:
            (folder / name).mkdir()
            return Instance(folder / name, settings | {"server": {"port": ports[name]}}, *arguments)

        made_here = House(
            instance("control", "--only", "control"),
            instance("knowledge", "--only", "knowledge"),
            [instance("first", "--local"), instance("second", "--local")],
            instance("standby", "--only", "control"),
            folder,
        )
        async with AsyncExitStack() as stack:
            everything = [made_here.control, made_here.knowledge, *made_here.gateways]
            for one in (*everything, made_here.standby):
                stack.push_async_exit(one)
            await asyncio.gather(*(one.start() for one in everything))
            yield made_here


async def test_what_is_promoted_through_one_gateway_is_served_by_both(house: House) -> None:
    body = {"name": ALIAS, "source": str(house.folder / ALIAS), "promote": True}
    async with house.http(0, under="/admin/v1/") as http:
        added = await http.post("adapters", json=body)
        replicas = {one["replica"] for one in (await http.get("replicas")).json()["data"]}
    assert added.status_code == 201, added.text
    version = added.json()["version"]["name"]
    assert set(added.json()["rollout"]["replicas"]) == replicas
    assert len(replicas) == 2
    for number in range(2):
        answer = await house.chat(number, ALIAS)
        assert (answer.status_code, answer.headers["x-loraplex-adapter"]) == (200, version)


async def test_one_scrape_of_either_gateway_sees_everything(house: House) -> None:
    async with house.http(1, under="/") as http:
        text = (await http.get("/metrics")).text
        targets = (await http.get("/metrics/targets")).json()
    names = {target["labels"]["instance"] for target in targets}
    assert len(names) == 3
    assert "knowledge" in names
    for name in names:
        assert f'replica="{name}"' in text


async def test_the_callers_key_decides_on_the_other_side_too(house: House) -> None:
    for key, status in (("guest", 403), ("nobody", 401)):
        async with house.http(0, key, under="/admin/v1/") as http:
            assert (await http.get("adapters")).status_code == status


async def test_a_search_crosses_with_its_callers_labels(house: House) -> None:
    async with house.http(0, "hr") as http:
        store = await made(http, "vector_stores", {"name": "house"})
        for name, text, attributes in (
            ("tea.txt", b"Tea is served at half past four.", {}),
            ("pay.txt", b"Tea is paid by the house.", {"labels": "hr"}),
        ):
            file = await uploaded(http, name, text)
            await made(http, f"vector_stores/{store}/files", {"file_id": file, "attributes": attributes})
        await settled(http, store)
    seen = {}
    for key in ("hr", "guest"):
        answer = await house.chat(1, DESK, key)
        assert answer.headers["x-loraplex-retrieval"] == "found", answer.text
        async with house.http(1, key) as http:
            page = await http.post(f"vector_stores/{store}/search", json={"query": "Who pays for tea?"})
        seen[key] = {one["filename"] for one in page.json()["data"]}
    assert seen == {"hr": {"tea.txt", "pay.txt"}, "guest": {"tea.txt"}}


async def test_without_control_answers_go_on_and_the_one_that_waited_takes_over(house: House) -> None:
    await house.standby.launch()
    await house.standby.until_line("Another control process is at work", 60)
    async with httpx.AsyncClient(trust_env=False) as http:
        waiting = await http.get(f"{house.standby.url}/readyz")
        assert (waiting.status_code, "another one is at work" in waiting.text) == (503, True)
    load = Load(house.gateways[0].url, ALIAS, key="ops")
    async with load.running():
        await load.until_served(5, 30)
        await house.control.kill_all()
        async with house.http(0, under="/admin/v1/") as http:
            away = await http.get("adapters")
        assert (away.status_code, away.headers["retry-after"]) == (503, "2")
        assert away.json()["error"]["message"].startswith("The control process is starting or restarting")
        await house.standby.until_line("Ready: ", 60)
        await load.until_served(20, 30)
    assert set(load.statuses) == {200}
    assert load.broken == []
    assert await house.standby.stop() == 0
    await house.control.start()
    async with house.http(0, under="/admin/v1/") as http:
        assert (await http.get("adapters")).status_code == 200


async def test_without_knowledge_a_task_answers_as_it_says_and_the_process_is_found_again(house: House) -> None:
    await house.knowledge.kill_all()
    answer = await house.chat(0, DESK)
    assert (answer.status_code, answer.headers["x-loraplex-retrieval"]) == (200, "degraded")
    async with house.http(0) as http:
        assert (await http.get("vector_stores")).status_code == 503
    await house.knowledge.start()

    async def found() -> bool:
        return (await house.chat(0, DESK)).headers["x-loraplex-retrieval"] == "found"

    await until(found, "retrieval after the restart")
