"""What requests to files and vector stores may ask for, and what only administrators are told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.embedding_server import Holds, embedding_server
from tests.knowledge_live import (
    LiveKnowledge,
    key_of,
    knowledge_config,
    live_with_memory_index,
    made,
    settled,
    uploaded,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOLDS = Holds()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveKnowledge]:
    """A gateway whose stores answer with what is all but the question itself."""
    with embedding_server(HOLDS) as embeddings:
        config = knowledge_config(
            tmp_path_factory.mktemp("limits"),
            knowledge={
                "embedder": {"url": embeddings, "model": "words", "max_tokens": 128},
                "search": {"min_score": 0.99},
                "bases": {"rules": {}},
            },
            api_keys=[key_of("root", admin=True), key_of("bob", models=["words"], writes_knowledge=True)],
        )
        async with live_with_memory_index(config) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(live: LiveKnowledge) -> str:
    """A store of bob's with one document."""
    async with live.http("bob") as bob:
        store_id = await made(bob, "vector_stores", {"name": "tea"})
        file_id = await uploaded(bob, "tea.txt", b"Tea is served at half past four in the kitchen.")
        await made(bob, f"vector_stores/{store_id}/files", {"file_id": file_id})
        await settled(bob, store_id)
        return store_id


FILES = [{"file_id": "file-1"}]
STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("vector_stores/{}/search", {"query": ["x"] * 17}, "query"),
        ("vector_stores/{}/search", {"query": ["x", "x" * 4001]}, "query"),
        ("vector_stores/{}/search", {"query": "x" * 4001}, "query"),
        ("vector_stores/{}/search", {"query": ["x", " "]}, "query"),
        ("vector_stores/{}/search", {"query": ""}, "query"),
        ("vector_stores/{}/search", {"query": []}, "query"),
        ("vector_stores/{}/search", {"query": "x", "ranking_options": {"ranker": "none"}}, "ranking_options.ranker"),
        ("vector_stores/{}/file_batches", {"files": FILES, "attributes": {"a": 1}}, "attributes"),
        ("vector_stores/{}/file_batches", {"files": FILES, "chunking_strategy": STATIC}, "chunking_strategy"),
        ("vector_stores/{}", {"name": "rules"}, "name"),
        ("vector_stores", {"name": "rules"}, "name"),
        ("rerank", {"query": "x", "documents": ["x"] * 257}, "documents"),
    ],
)
async def test_a_request_that_asks_too_much_is_refused_with_the_field(
    live: LiveKnowledge, store: str, path: str, body: dict[str, Any], param: str
) -> None:
    async with live.http("bob") as bob:
        answer = await bob.post(path.format(store), json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


async def test_as_many_and_as_long_questions_as_allowed_are_answered(live: LiveKnowledge, store: str) -> None:
    async with live.http("bob") as bob:
        answer = await bob.post(f"vector_stores/{store}/search", json={"query": ["x" * 4000] * 16})
    assert answer.status_code == 200, answer.text


async def test_a_threshold_of_zero_overrules_that_of_the_store(live: LiveKnowledge, store: str) -> None:
    async with live.http("bob") as bob:
        found = {}
        for name, options in {"none": {}, "zero": {"score_threshold": 0}, "null": {"score_threshold": None}}.items():
            body = {"query": "When is tea served?", "ranking_options": options}
            found[name] = len((await bob.post(f"vector_stores/{store}/search", json=body)).json()["data"])
    assert found == {"none": 0, "zero": 1, "null": 0}


async def test_only_administrators_are_told_what_depends_on_hidden_documents(live: LiveKnowledge, store: str) -> None:
    body = {"query": "When is tea served?", "ranking_options": {"score_threshold": 0}}
    path = f"vector_stores/{store}/search?explain=true"
    async with live.http("bob") as bob, live.http("root") as root:
        told, all_told = (await bob.post(path, json=body)).json(), (await root.post(path, json=body)).json()
    assert {"arms", "notes", *told} == set(all_told)
    assert not {"arms", "notes"} & set(told)
    assert {"lexical", *told["data"][0]["scores"]} == set(all_told["data"][0]["scores"])
    assert set(told["data"][0]["scores"]) == {"dense", "fused"}


async def test_whether_a_document_holds_a_passage_is_not_told_by_the_time_that_its_vector_takes(
    live: LiveKnowledge, store: str
) -> None:
    async with live.http("bob") as bob:
        asked = HOLDS.asked["words"]
        for text in ("Tea is served at half past four in the kitchen.", "Nobody wrote this."):
            answer = await bob.post("embeddings", json={"model": "words", "input": text})
            assert answer.status_code == 200, answer.text
    assert HOLDS.asked["words"] - asked == 2
