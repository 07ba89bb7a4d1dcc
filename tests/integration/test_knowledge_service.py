"""What a gateway with knowledge answers besides stores: models by themselves, limits, and what a restart finds."""

import base64
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from retrieval.indexes.memory import MemoryIndexStore
from retrieval.types import Access
from serving.config import GatewayConfig
from serving.engine.fake import FakeEngine
from serving.gateway import build_gateway
from serving.knowledge.protocol import SearchRequest
from serving.knowledge.service import KnowledgeService
from tests.embedding_server import embedding_server
from tests.knowledge_live import BASE, LiveKnowledge, knowledge_config, live_gateway, made, settled, uploaded
from tests.live import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMBEDDER = "all-MiniLM-L6-v2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveKnowledge]:
    """A gateway with the default embedder."""
    folder = tmp_path_factory.mktemp("models")
    async with live_gateway(knowledge_config(folder, knowledge={"max_file_bytes": 200_000})) as running:
        yield running


async def test_embeddings_come_as_numbers_and_as_bytes(live: LiveKnowledge) -> None:
    texts = ["a pump", "an oven"]
    async with live.sdk() as client, live.http() as http:
        plain = await client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
        raw = await http.post("embeddings", json={"model": EMBEDDER, "input": texts, "encoding_format": "base64"})
    for row, coded in zip(plain.data, raw.json()["data"], strict=True):
        assert math.isclose(math.hypot(*row.embedding), 1, abs_tol=1e-4)
        unpacked = struct.unpack(f"<{len(row.embedding)}f", base64.b64decode(coded["embedding"]))
        assert list(unpacked) == pytest.approx(row.embedding, abs=1e-5)
    assert plain.usage.prompt_tokens > 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nobody"}, 404, "model_not_found"),
        ({"input": "word " * 3000}, 400, "invalid_request"),
        ({"input": []}, 400, "invalid_request"),
        ({"input": [""]}, 400, "invalid_request"),
        ({"input": [1, 2]}, 400, "invalid_request"),
        ({"dimensions": 3}, 400, "invalid_request"),
    ],
    ids=["model", "too long", "nothing", "empty", "token ids", "dimensions"],
)
async def test_what_cannot_be_embedded_is_refused(
    live: LiveKnowledge, body: dict[str, Any], status: int, code: str
) -> None:
    async with live.sdk() as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.embeddings.create(**({"model": EMBEDDER, "input": "x"} | body))
    assert (raised.value.status_code, raised.value.code) == (status, code)


async def test_reranking_puts_the_answer_first(live: LiveKnowledge) -> None:
    texts = ["Cats sleep long.", "The warranty lasts 37 months.", "It rains in Bergen."]
    async with live.http() as http:
        answer = await http.post("rerank", json={"query": "How long is the warranty?", "documents": texts, "top_n": 2})
    assert answer.status_code == 200, answer.text
    places = [one["index"] for one in answer.json()["results"]]
    assert places[0] == 1
    assert len(places) == 2


async def test_a_file_over_the_limit_is_refused(live: LiveKnowledge) -> None:
    async with live.sdk() as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.files.create(file=("large.txt", b"x" * 200_001), purpose="assistants")
        assert (raised.value.status_code, raised.value.code) == (413, "body_too_large")
        assert (await client.files.create(file=("fits.txt", b"x" * 200_000), purpose="assistants")).bytes == 200_000


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "files"), ("POST", "vector_stores"), ("POST", "embeddings"), ("POST", "rerank")]
)
async def test_a_gateway_without_knowledge_says_what_is_missing(tmp_path: Path, method: str, path: str) -> None:
    plain = knowledge_config(tmp_path).model_copy(update={"knowledge": None})
    gateway = build_gateway(plain, engine=FakeEngine(BASE, capacity=None))
    await gateway.start(lambda _: None)
    async with served(gateway.app) as url, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.request(method, f"{url}/v1/{path}", json={})
    await gateway.stop()
    assert answer.status_code == 404
    assert "no section `knowledge`" in answer.json()["error"]["message"]


def _restartable(folder: Path, embeddings: str) -> GatewayConfig:
    return knowledge_config(
        folder,
        knowledge={"embedder": {"url": embeddings, "model": "words", "max_tokens": 128}},
        tasks={"ask": {"retrieval": {"knowledge": ["memory"]}}},
    )


async def test_a_restart_finds_everything(tmp_path: Path) -> None:
    with embedding_server() as embeddings:
        config = _restartable(tmp_path, embeddings)
        async with live_gateway(config) as live, live.sdk() as client, live.http() as http:
            store = (await client.vector_stores.create(name="memory", metadata={"team": "ops"})).id
            names = ["tea.txt", "rail.txt", "late.txt"]
            texts = ["Tea is served at half past four.", "The night train leaves at 23:10.", "Later still."]
            ids = [
                (await client.files.create(file=(name, text.encode()), purpose="assistants")).id
                for name, text in zip(names, texts, strict=True)
            ]
            await client.vector_stores.file_batches.create(store, file_ids=ids[:2], attributes={"floor": 3})
            await settled(http, store)
            before = [await client.vector_stores.files.retrieve(one, vector_store_id=store) for one in ids[:2]]
            # The last is accepted and may not be ingested before the stop.
            await client.vector_stores.files.create(store, file_id=ids[2])
        async with live_gateway(config) as live, live.sdk() as client, live.http() as http:
            await settled(http, store)
            after = [await client.vector_stores.files.retrieve(one, vector_store_id=store) for one in ids[:2]]
            assert after == before
            assert (await client.vector_stores.retrieve(store)).file_counts.completed == 3
            page = await client.vector_stores.search(store, query="When does the night train leave?")
            assert page.data[0].filename == "rail.txt"
            assert (await client.files.content(ids[0])).content == texts[0].encode()
            live.engine.saying = "At half past four. [1]"
            answer = await client.chat.completions.create(
                model="ask", messages=[{"role": "user", "content": "When is tea served?"}]
            )
            assert [one.url_citation.title for one in answer.choices[0].message.annotations or ()] == ["tea.txt"]


async def test_a_service_that_only_reads_answers_and_ingests_nothing_until_it_may_write(tmp_path: Path) -> None:
    with embedding_server() as embeddings:
        service = KnowledgeService(_restartable(tmp_path, embeddings), open_indexes=MemoryIndexStore)
        await service.start_reading()
        try:
            async with served(service.app) as url, httpx.AsyncClient(base_url=f"{url}/v1/", trust_env=False) as http:
                store = await made(http, "vector_stores", {"name": "memory"})
                file = await uploaded(http, "tea.txt", b"Tea is served at half past four.")
                await made(http, f"vector_stores/{store}/files", {"file_id": file})
                request = SearchRequest((store,), "When is tea served?", 3, Access(everything=True))
                assert (await service.search(request)).passages == ()
                counts = (await http.get(f"vector_stores/{store}")).json()["file_counts"]
                assert (counts["in_progress"], counts["completed"]) == (1, 0)
                await service.start_writing()
                await settled(http, store)
                assert [one.filename for one in (await service.search(request)).passages] == ["tea.txt"]
        finally:
            await service.stop()
