"""``kill -9`` of a knowledge service in the middle of its work: what it acknowledged is there, once and whole."""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.database import Database
from serving.knowledge.document_records import Documents
from serving.knowledge.store_records import Stores
from serving.knowledge.tables import SCHEMA
from serving.knowledge.types import StoreRecord
from tests.embedding_server import Holds, embedding_server
from tests.integration.instance import ROOT, eventually
from tests.knowledge_live import made, settled

pytestmark = pytest.mark.timeout(240)

DOCUMENTS = 40
EDITED = 12
CHUNKING = {"type": "static", "static": {"max_chunk_size_tokens": 40, "chunk_overlap_tokens": 0}}


@dataclass(frozen=True, slots=True)
class Text:
    """One version of a document: three passages of words that no other passage has."""

    source: str
    passages: tuple[str, ...]

    @classmethod
    def random(cls, number: int, chance: random.Random) -> "Text":
        words = [[f"w{chance.randrange(10**9)}" for _ in range(8)] for _ in range(3)]
        return cls(f"doc-{number}", tuple(f"Document{number} {' '.join(some)}." for some in words))

    @property
    def data(self) -> bytes:
        return "\n\n".join(self.passages).encode()


@dataclass
class Hosted:
    """A state folder, and the service that runs on it now and then."""

    folder: Path
    embeddings: str
    holds: Holds
    process: asyncio.subprocess.Process | None = None
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(f"sqlite:///{self.folder}/state.db", SCHEMA)

    @asynccontextmanager
    async def running(self, model: str = "words") -> AsyncIterator[httpx.AsyncClient]:
        """Start the service; killed at the end if not before."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.knowledge_host", str(self.folder), self.embeddings, model),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert self.process.stdout is not None
            line = await asyncio.wait_for(self.process.stdout.readline(), 60)
            url = json.loads(line)["url"]
            async with httpx.AsyncClient(base_url=f"{url}/v1/", timeout=30, trust_env=False) as client:
                yield client
        finally:
            await self.kill()

    async def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def store(self) -> StoreRecord:
        """The record of the only store."""
        (record,) = Stores(self.database).all()
        return record

    def leftovers(self) -> dict[str, list[int]]:
        """Editions that nothing points at."""
        return Documents(self.database).leftovers()

    async def assert_index_holds_exactly_what_is_served(self) -> None:
        """To be called while no service runs: Milvus Lite belongs to one process, and so it is asked from another."""
        record = self.store()
        served = {one.edition for one in Documents(self.database).of_store(record.id)}
        arguments = (sys.executable, "-c", _READ_INDEXES, str(self.folder / "milvus.db"))
        reader = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        told, _ = await asyncio.wait_for(reader.communicate(), 60)
        assert json.loads(told) == {record.index_name: sorted(one for one in served if one is not None)}


_READ_INDEXES = """
import json, sys
from retrieval.indexes.lite import LiteStore
store = LiteStore(sys.argv[1])
print(json.dumps({name: sorted(store.open(name).documents()) for name in store.names()}))
store.close()
"""


@asynccontextmanager
async def _hosted(folder: Path) -> AsyncIterator[Hosted]:
    holds = Holds()
    with embedding_server(holds) as embeddings:
        hosted = Hosted(folder, embeddings, holds)
        yield hosted
        hosted.database.close()


async def _put(client: httpx.AsyncClient, store: str, text: Text) -> str:
    files = {"file": (f"{text.source}.txt", text.data)}
    answer = (await client.post("files", files=files, data={"purpose": "assistants"})).raise_for_status()
    file_id = str(answer.json()["id"])
    body = {"file_id": file_id, "attributes": {"source": text.source}, "chunking_strategy": CHUNKING}
    (await client.post(f"vector_stores/{store}/files", json=body)).raise_for_status()
    return file_id


async def _put_until_killed(
    client: httpx.AsyncClient, store: str, waiting: list[Text], acknowledged: dict[str, tuple[str, Text]]
) -> None:
    try:
        while waiting:
            text = waiting[0]
            acknowledged[text.source] = (await _put(client, store, text), text)
            waiting.pop(0)
    except httpx.TransportError:
        return


async def _passages(client: httpx.AsyncClient, store: str, source: str) -> list[str]:
    body = {
        "query": "Document",
        "max_num_results": 50,
        "filters": {"type": "eq", "key": "source", "value": source},
    }
    answer = await client.post(f"vector_stores/{store}/search", json=body)
    assert answer.status_code == 200, answer.text
    return sorted(one["content"][0]["text"] for one in answer.json()["data"])


async def _assert_whole(
    client: httpx.AsyncClient, store: str, texts: dict[str, tuple[str, Text]], listed: list[dict[str, Any]]
) -> None:
    """Each source is there once, by the file that was acknowledged last, with all its passages and no others."""
    assert sorted(one["attributes"]["source"] for one in listed) == sorted(texts)
    for one in listed:
        file_id, text = texts[one["attributes"]["source"]]
        assert (one["id"], one["status"], one["passages"]) == (file_id, "completed", len(text.passages)), one
        assert await _passages(client, store, text.source) == sorted(text.passages)
        content = (await client.get(f"vector_stores/{store}/files/{file_id}/content")).json()["data"]
        assert [part["text"] for part in content] == list(text.passages)


async def _listed(client: httpx.AsyncClient, store: str) -> list[dict[str, Any]]:
    answer = await client.get(f"vector_stores/{store}/files", params={"limit": 100})
    entries: list[dict[str, Any]] = answer.json()["data"]
    return entries


async def _swept(hosted: Hosted) -> None:
    await eventually(lambda: not hosted.leftovers(), "nothing is left over", 20)


async def test_what_was_acknowledged_survives_kills_once_and_whole(tmp_path: Path) -> None:
    chance = random.Random()
    first = [Text.random(number, chance) for number in range(DOCUMENTS)]
    edited = [Text.random(number, chance) for number in range(EDITED)]
    waiting, acknowledged = [*first, *edited], dict[str, tuple[str, Text]]()
    async with _hosted(tmp_path) as hosted:
        async with hosted.running() as client:
            store = await made(client, "vector_stores", {"name": "books"})
        rounds = 0
        while waiting:
            async with hosted.running() as client:
                putting = asyncio.create_task(_put_until_killed(client, store, waiting, acknowledged))
                # The moment is the test's subject: anywhere in the uploads or the ingestion behind them.
                await asyncio.wait({putting}, timeout=chance.uniform(0.05, 0.5) + 0.5 * rounds)
                await hosted.kill()
                await putting
            rounds += 1
        assert rounds >= 2
        async with hosted.running() as client:
            await settled(client, store)
            await _assert_whole(client, store, acknowledged, await _listed(client, store))

            again = {source: (await _put(client, store, text), text) for source, (_, text) in acknowledged.items()}
            counts = (await settled(client, store))["file_counts"]
            assert (counts["completed"], counts["total"]) == (DOCUMENTS, DOCUMENTS)
            listed = await _listed(client, store)
            await _assert_whole(client, store, again, listed)
        async with hosted.running() as client:
            await _swept(hosted)
            assert await _listed(client, store) == listed
        await hosted.assert_index_holds_exactly_what_is_served()


async def test_an_index_made_anew_is_finished_through_kills_and_searched_meanwhile(tmp_path: Path) -> None:
    chance = random.Random()
    texts = [Text.random(number, chance) for number in range(12)]
    async with _hosted(tmp_path) as hosted:
        async with hosted.running("words-a") as client:
            store = await made(client, "vector_stores", {"name": "books"})
            acknowledged = {text.source: (await _put(client, store, text), text) for text in texts}
            await settled(client, store)
        old = hosted.store()
        for _ in range(2):
            # One request finds the dimension out, each of the others is a document's.
            hosted.holds.after("words-b", chance.randint(1, 7))
            async with hosted.running("words-b") as client:
                await eventually(lambda: hosted.holds.waiting("words-b"), "the new index is being built", 20)
                await _assert_whole(client, store, acknowledged, await _listed(client, store))
            assert hosted.store().index_name == old.index_name
            assert hosted.store().building_name is not None
        hosted.holds.release("words-b")
        async with hosted.running("words-b") as client:
            while hosted.store().index_name == old.index_name:
                for text in texts:
                    assert await _passages(client, store, text.source) == sorted(text.passages)
            assert hosted.store().building_name is None
            await _assert_whole(client, store, acknowledged, await _listed(client, store))
            await _swept(hosted)
            await _assert_whole(client, store, acknowledged, await _listed(client, store))
        await hosted.assert_index_holds_exactly_what_is_served()
