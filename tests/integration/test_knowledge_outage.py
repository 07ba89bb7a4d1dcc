"""A Milvus server that dies under load and comes back: tasks do what their policies say, and nobody has to help."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.embedding_server import embedding_server
from tests.integration.instance import eventually
from tests.knowledge_live import LiveKnowledge, knowledge_config, live_gateway, settled
from tests.milvus_server import MilvusServer

TASKS = {
    "soft": {"retrieval": {"knowledge": ["desk"], "when_down": "degrade", "timeout_s": 2}},
    "firm": {"retrieval": {"knowledge": ["desk"], "when_down": "fail", "timeout_s": 2}},
}
BACK_WITHIN_S = 120.0


class Load:
    """Questions to both tasks, one after another; what came back, by task, since it was last looked at."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.seen: Counter[tuple[str, int, str]] = Counter()

    async def ask(self, task: str) -> tuple[int, str]:
        body = {"model": task, "messages": [{"role": "user", "content": "What does a lantern cost?"}]}
        answer = await self._http.post("chat/completions", json=body)
        told = (answer.status_code, answer.headers.get("x-loraplex-retrieval", ""))
        self.seen[(task, *told)] += 1
        if answer.status_code != httpx.codes.OK:
            assert answer.json()["error"]["code"] == "retrieval_unavailable"
            assert "retry-after" in answer.headers
        return told

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask while the block runs. Raises what went wrong meanwhile."""
        stop = asyncio.Event()

        async def keep_asking(task: str) -> None:
            while not stop.is_set():
                await self.ask(task)

        workers = [asyncio.create_task(keep_asking(task)) for task in TASKS]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*workers)

    async def until(self, task: str, status: int, told: str, within_s: float) -> None:
        """Wait for such an answer from now on."""
        self.seen.clear()
        await eventually(lambda: self.seen[task, status, told] > 2, f"{task}: {status} {told}", within_s)


@pytest.mark.slow
async def test_both_policies_hold_while_milvus_is_down_and_all_is_well_when_it_is_back(
    milvus_server: MilvusServer, tmp_path: Path
) -> None:
    with embedding_server() as embeddings:
        knowledge = {
            "index": {"uri": milvus_server.uri},
            "embedder": {"url": embeddings, "model": "words"},
            "bases": {"desk": {}},
        }
        config = knowledge_config(tmp_path, knowledge=knowledge, tasks=TASKS)
        async with live_gateway(config) as live, live.http() as http:
            store = (await http.get("vector_stores")).json()["data"][0]["id"]
            await _upload(http, store, "lantern.md", "One lantern costs 12 crowns.")
            await settled(http, store)
            await _outage(live, Load(http), milvus_server, store)


async def _outage(live: LiveKnowledge, load: Load, server: MilvusServer, store: str) -> None:
    async with live.http() as http, load.running():
        await load.until("soft", 200, "found", 20)
        await load.until("firm", 200, "found", 20)
        server.kill()
        await load.until("soft", 200, "degraded", 20)
        await load.until("firm", 503, "", 20)
        load.seen.clear()
        await _upload(http, store, "kettle.md", "One kettle costs 30 crowns.")
        await eventually(lambda: load.seen.total() > 6, "answers while it is down", 30)
        assert {key for key in load.seen if key[1:] not in ((200, "degraded"), (503, ""))} == set()
        await asyncio.to_thread(server.start)
        await load.until("soft", 200, "found", BACK_WITHIN_S)
        await load.until("firm", 200, "found", BACK_WITHIN_S)
        assert (await settled(http, store, within_s=BACK_WITHIN_S))["file_counts"]["completed"] == 2
        found = (await http.post(f"vector_stores/{store}/search", json={"query": "kettle"})).json()
        assert "30 crowns" in found["data"][0]["content"][0]["text"]
        load.seen.clear()
        await eventually(lambda: load.seen.total() > 6, "answers after it is back", 30)
        assert set(load.seen) <= {("soft", 200, "found"), ("firm", 200, "found")}


async def _upload(http: httpx.AsyncClient, store: str, name: str, text: str) -> None:
    form = {"purpose": "assistants"}
    file = (await http.post("files", data=form, files={"file": (name, text.encode())})).raise_for_status().json()
    (await http.post(f"vector_stores/{store}/files", json={"file_id": file["id"]})).raise_for_status()
