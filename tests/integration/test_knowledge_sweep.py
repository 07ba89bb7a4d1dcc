"""What nothing points at is removed, and what is said of a document holds at once. In memory, through HTTP."""

import asyncio
from pathlib import Path

import httpx
import pytest

from retrieval.indexes.memory import MemoryIndexStore
from tests.embedding_server import Holds, embedding_server
from tests.integration.instance import eventually
from tests.knowledge_live import key_of, knowledge_config, live_with_memory_index, made, settled, uploaded

EVERYBODY = {"query": "rebate"}


async def _found(client: httpx.AsyncClient, store: str) -> list[str]:
    answer = await client.post(f"vector_stores/{store}/search", json=EVERYBODY)
    return [one["file_id"] for one in answer.json()["data"]]


@pytest.mark.parametrize("emptied", [False, True])
async def test_a_deleted_store_leaves_no_index(tmp_path: Path, *, emptied: bool) -> None:
    indexes = MemoryIndexStore()
    with embedding_server() as embeddings:
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": embeddings, "model": "words"}})
        async with live_with_memory_index(config, lambda: indexes) as live, live.http() as client:
            store = await made(client, "vector_stores", {"name": "a"})
            file_id = await uploaded(client, "a.txt", b"The rebate is 5 percent.")
            await made(client, f"vector_stores/{store}/files", {"file_id": file_id})
            await settled(client, store)
            (name,) = indexes.names()
            if emptied:
                assert (await client.delete(f"files/{file_id}")).status_code == 200
                index = indexes.open(name)
                assert index is not None
                await eventually(lambda: index.count() == 0, "its passages are gone", 20)
            assert (await client.delete(f"vector_stores/{store}")).status_code == 200
            await eventually(lambda: indexes.names() == [], "its index is gone", 25)


async def test_labels_of_a_file_attached_again_hold_before_it_is_ingested_again(tmp_path: Path) -> None:
    holds = Holds()
    with embedding_server(holds) as embeddings:
        keys = [key_of("alice", labels=["finance"], writes_knowledge=True), key_of("bob")]
        embedder = {"url": embeddings, "model": "words"}
        config = knowledge_config(tmp_path, knowledge={"embedder": embedder, "cache_bytes": 0}, api_keys=keys)
        async with live_with_memory_index(config) as live, live.http("alice") as alice, live.http("bob") as bob:
            store = await made(alice, "vector_stores", {"name": "a"})
            file_id = await uploaded(alice, "a.txt", b"The rebate is 5 percent.")
            await made(alice, f"vector_stores/{store}/files", {"file_id": file_id})
            await settled(alice, store)
            assert await _found(bob, store) == [file_id]
            holds.after("words", 0)
            again = {"file_id": file_id, "attributes": {"labels": "finance"}}
            await made(alice, f"vector_stores/{store}/files", again)
            searching = asyncio.create_task(_found(bob, store))
            await eventually(lambda: holds.waiting("words"), "the second ingestion waits", 10)
            assert (await alice.get(f"vector_stores/{store}")).json()["file_counts"]["in_progress"] == 1
            try:
                # Nothing that bob may see is left to search, so nothing is embedded for him.
                assert await asyncio.wait_for(searching, 5) == []
            finally:
                holds.release("words")
            await settled(alice, store)
            assert await _found(bob, store) == []
            assert await _found(alice, store) == [file_id]


async def test_of_files_of_one_source_attached_together_the_last_stays(tmp_path: Path) -> None:
    with embedding_server() as embeddings:
        config = knowledge_config(tmp_path, knowledge={"embedder": {"url": embeddings, "model": "words"}})
        async with live_with_memory_index(config) as live, live.http() as client:
            store = await made(client, "vector_stores", {"name": "a"})
            ids = [await uploaded(client, "a.txt", f"The rebate is {n} percent.".encode()) for n in range(12)]
            bodies = [{"file_id": one, "attributes": {"source": "rebates"}} for one in ids]
            await made(client, f"vector_stores/{store}/file_batches", {"files": bodies[:3]})
            await settled(client, store)
            assert await _found(client, store) == [ids[2]]
            await asyncio.gather(*(made(client, f"vector_stores/{store}/files", body) for body in bodies[3:]))
            await settled(client, store)
            assert len(await _found(client, store)) == 1
