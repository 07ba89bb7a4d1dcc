"""Nobody learns of a document that is not for him: random label sets, and twin answers over HTTP."""

import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from retrieval.embedding import Embedder
from retrieval.indexes.memory import MemoryIndexStore
from retrieval.indexes.protocol import IndexSpec
from retrieval.types import Access, Passage
from serving.config import KnowledgeSettings
from serving.knowledge.models import Models
from serving.knowledge.protocol import SearchRequest
from serving.knowledge.recipes import Recipe
from serving.knowledge.searcher import Searcher
from serving.knowledge.types import DocumentRecord, DocumentStatus, StoreRecord
from serving.knowledge.views import Views
from serving.settings.knowledge import ChunkingSettings, EmbedderSettings, SearchSettings
from tests.embedding_server import embedding_server
from tests.hostile_knowledge import INJECTIONS
from tests.knowledge_live import LiveKnowledge, key_of, knowledge_config, live_gateway, made, settled, uploaded
from tests.word_embedder import WordEmbedder

asynchronous = pytest.mark.asyncio(loop_scope="module")

LABELS = ("hr", "finance", "legal", "board", "ops")
SECRET = "The takeover of Borealis closes at 41 crowns a share."


# Random documents and callers against a reference


class WordModels(Models):
    """Models that are all the word embedder."""

    def embedder(self, settings: EmbedderSettings | None = None) -> Embedder:
        return WordEmbedder()


@dataclass(frozen=True, slots=True)
class World:
    """A store of random documents."""

    searcher: Searcher
    documents: dict[str, DocumentRecord]


def _document(number: int, labels: frozenset[str], attributes: dict[str, Any]) -> DocumentRecord:
    return DocumentRecord(
        id=number,
        store_id="vs_0",
        file_id=f"file-{number}",
        filename=f"{number}.txt",
        sha256="",
        bytes=1,
        status=DocumentStatus.COMPLETED,
        error_code=None,
        error_message=None,
        attributes={**attributes, **({"labels": ",".join(sorted(labels))} if labels else {})},
        labels=labels,
        title="",
        chunking=None,
        replaces=(),
        attempts=0,
        batch_id=None,
        edition=number,
        next_edition=None,
        passages=1,
        usage_bytes=1,
        created_at=0,
        accepted_at=float(number),
    )


def _world(chance: random.Random, *, alike: bool) -> World:
    """Documents that have one word in common, or, ``alike``, nearly all of them and versions besides."""
    indexes, embedder, views = MemoryIndexStore(), WordEmbedder(), Views()
    documents: dict[str, DocumentRecord] = {}
    index = indexes.create("kb", IndexSpec(embedder.dimension, embedder.fingerprint))
    for number in range(1, chance.randint(4, 12)):
        labels = frozenset(chance.sample(LABELS, chance.choice((0, 1, 1, 2, 3))))
        attributes: dict[str, Any] = {"colour": chance.choice(("red", "green"))}
        own = [f"w{chance.randrange(10**9)}" for _ in range(1 if alike else 12)]
        text = " ".join(["common", *(f"shared{n}" for n in range(12 if alike else 0)), *own])
        if alike:
            attributes |= {"source": "one", "version": str(chance.randint(1, 3))}
        document = _document(number, labels, attributes)
        documents[document.file_id] = document
        passage = Passage(number, 0, text)
        index.add([passage], embedder.embed_documents([text]))
    recipe = Recipe(EmbedderSettings(), embedder.fingerprint, ChunkingSettings())
    store = StoreRecord(
        "vs_0", 1, "docs", "root", False, {}, frozenset(), 0, 0, None, "kb", recipe.written(), None, None
    )
    views.put(store, documents.values())
    settings = KnowledgeSettings(search=SearchSettings())
    return World(Searcher(settings, views, WordModels(settings), lambda: indexes), documents)


def _allowed(world: World, access: Access, colour: str | None) -> set[str]:
    mine = (
        one for one in world.documents.values() if access.everything or not one.labels or one.labels & access.labels
    )
    return {one.file_id for one in mine if colour is None or one.attributes["colour"] == colour}


def _asked(chance: random.Random, world: World) -> tuple[SearchRequest, set[str]]:
    access = Access(frozenset(chance.sample(LABELS, chance.randint(0, 3))), everything=chance.random() < 0.05)
    colour = chance.choice((None, "red", "green"))
    filters = None if colour is None else {"type": "eq", "key": "colour", "value": colour}
    query = chance.choice(("common", "common shared1", chance.choice(INJECTIONS[:20]) or "x"))
    request = SearchRequest(("docs",), query, 50, access, filters, explain=chance.random() < 0.2)
    return request, _allowed(world, access, colour)


def test_ten_thousand_searches_return_exactly_the_allowed_documents() -> None:
    chance, cases = random.Random(20260301), 0
    for _ in range(250):
        world = _world(chance, alike=False)
        for _ in range(40):
            request, allowed = _asked(chance, world)
            result = world.searcher.search(request)
            assert {one.file_id for one in result.passages} == allowed
            assert {entry.file_id for arm in result.arms.values() for entry in arm} <= allowed
            cases += 1
    assert cases >= 10_000


def test_versions_that_a_caller_may_not_see_neither_show_nor_hide_anything() -> None:
    chance = random.Random(7)
    for _ in range(100):
        world = _world(chance, alike=True)
        for _ in range(15):
            request, allowed = _asked(chance, world)
            result = world.searcher.search(request)
            shown = {one.file_id for one in (*result.passages, *result.superseded)}
            assert shown <= allowed
            assert {one.superseded_by for one in result.superseded} <= allowed
            assert bool(shown) == bool(allowed)


# A caller and a document that is not for him


@pytest.fixture(scope="module")
def embeddings() -> Iterator[str]:
    with embedding_server() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory, embeddings: str) -> AsyncIterator[LiveKnowledge]:
    config = knowledge_config(
        tmp_path_factory.mktemp("access"),
        knowledge={"embedder": {"url": embeddings, "model": "words", "max_tokens": 128}, "max_file_bytes": 100_000},
        api_keys=[
            key_of("root", admin=True),
            key_of("alice", labels=["finance"], writes_knowledge=True),
            key_of("bob", labels=["hr"], writes_knowledge=True),
            key_of("dave", labels=["hr"]),
        ],
        tasks={"ask": {"retrieval": {"knowledge": ["open"], "when_empty": "refuse"}}},
    )
    async with live_gateway(config) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Places:
    """What alice made. Bob may not see her documents, nor her closed store."""

    open_store: str
    closed_store: str
    secret_file: str
    loose_file: str
    """In no store."""
    secret_batch: str
    closed_batch: str
    emptied_batch: str
    """In the open store; its file is deleted."""
    own_file: str
    """Bob's."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(live: LiveKnowledge) -> Places:
    async with live.http("alice") as alice, live.http("bob") as bob:
        stores = [
            await made(alice, "vector_stores", {"name": name, "metadata": metadata})
            for name, metadata in (("open", {}), ("closed", {"labels": "finance"}))
        ]
        secret, closed, loose, gone = [await uploaded(alice, "secret.txt", SECRET.encode()) for _ in range(4)]
        finance = {"labels": "finance", "team": "deals"}
        batches = [
            await made(alice, f"vector_stores/{store}/file_batches", {"file_ids": [file], "attributes": finance})
            for store, file in ((stores[0], secret), (stores[1], closed), (stores[0], gone))
        ]
        for store in stores:
            await settled(alice, store)
        assert (await alice.delete(f"files/{gone}")).status_code == 200
        own = await uploaded(bob, "own.txt", b"Bob likes tea.")
        return Places(stores[0], stores[1], secret, loose, batches[0], batches[1], batches[2], own)


FILE, STORE, BATCH = "{file}", "{store}", "{batch}"
ATTRIBUTE = {"attributes": {"a": 1}}
TWIN_FILES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "files/{file}", None),
    ("GET", "files/{file}/content", None),
    ("DELETE", "files/{file}", None),
    ("GET", "files?after={file}", None),
    ("POST", "vector_stores", {"name": "x", "file_ids": [FILE]}),
    ("GET", "vector_stores/{open}/files/{file}", None),
    ("POST", "vector_stores/{open}/files/{file}", ATTRIBUTE),
    ("DELETE", "vector_stores/{open}/files/{file}", None),
    ("GET", "vector_stores/{open}/files/{file}/content", None),
    ("GET", "vector_stores/{open}/files?after={file}", None),
    ("GET", "vector_stores/{open}/files?before={file}", None),
    ("POST", "vector_stores/{open}/files", {"file_id": FILE}),
    ("POST", "vector_stores/{open}/files", {"file_id": FILE, "attributes": {"labels": "finance"}}),
    ("POST", "vector_stores/{open}/file_batches", {"file_ids": [FILE]}),
    ("POST", "vector_stores/{open}/file_batches", {"file_ids": ["{own}", FILE]}),
)
TWIN_STORES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "vector_stores/{store}", None),
    ("POST", "vector_stores/{store}", {"name": "mine"}),
    ("POST", "vector_stores/{store}", {"metadata": {"labels": "hr"}}),
    ("DELETE", "vector_stores/{store}", None),
    ("GET", "vector_stores?after={store}", None),
    ("GET", "vector_stores?before={store}", None),
    ("POST", "vector_stores/{store}/search", {"query": "takeover"}),
    ("POST", "vector_stores/{store}/search?explain=true", {"query": "takeover"}),
    ("POST", "vector_stores/{store}/sync", None),
    ("GET", "vector_stores/{store}/files", None),
    ("POST", "vector_stores/{store}/files", {"file_id": "{own}"}),
    ("GET", "vector_stores/{store}/files/{own}", None),
    ("POST", "vector_stores/{store}/files/{own}", ATTRIBUTE),
    ("DELETE", "vector_stores/{store}/files/{own}", None),
    ("GET", "vector_stores/{store}/files/{own}/content", None),
    ("POST", "vector_stores/{store}/file_batches", {"file_ids": ["{own}"]}),
    ("GET", "vector_stores/{store}/file_batches/{batch}", None),
    ("POST", "vector_stores/{store}/file_batches/{batch}/cancel", None),
    ("GET", "vector_stores/{store}/file_batches/{batch}/files", None),
    (
        "POST",
        "responses",
        {
            "model": "fake-base",
            "input": "takeover",
            "tools": [{"type": "file_search", "vector_store_ids": [STORE]}],
        },
    ),
)
TWIN_BATCHES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "vector_stores/{open}/file_batches/{batch}", None),
    ("POST", "vector_stores/{open}/file_batches/{batch}/cancel", None),
    ("GET", "vector_stores/{open}/file_batches/{batch}/files", None),
    ("GET", "vector_stores/{open}/file_batches/{batch}/files?filter=completed", None),
)
NOWHERE = {"file": "file-" + "0" * 32, "store": "vs_" + "0" * 32, "batch": "vsfb_" + "0" * 32}


async def _told(client: httpx.AsyncClient, route: tuple[str, str, Any], ids: dict[str, str]) -> tuple[Any, ...]:
    """All that an answer tells, the ids that were sent in it put back to their names."""
    method, path, body = route
    text = json.dumps(body)
    for name, value in ids.items():
        path, text = path.replace(f"{{{name}}}", value), text.replace(f"{{{name}}}", value)
    answer = await client.request(method, path, json=json.loads(text))
    shown = answer.text
    for name, value in ids.items():
        shown = shown.replace(value, f"{{{name}}}")
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    return answer.status_code, headers, re.sub(r'"created_at":\d+', "", shown)


@asynchronous
@pytest.mark.parametrize("key", ["bob", "dave"])
@pytest.mark.parametrize("route", TWIN_FILES, ids=lambda route: f"{route[0]} {route[1]}")
async def test_a_hidden_file_answers_as_one_that_does_not_exist(
    live: LiveKnowledge, places: Places, route: tuple[str, str, Any], key: str
) -> None:
    fixed = {"open": places.open_store, "own": places.own_file}
    async with live.http(key) as client:
        missing = await _told(client, route, {**fixed, "file": NOWHERE["file"]})
        assert missing[0] in (400, 403, 404)
        for file_id in (places.secret_file, places.loose_file):
            assert await _told(client, route, {**fixed, "file": file_id}) == missing
    async with live.http("alice") as alice:
        assert (await alice.get(f"files/{places.secret_file}/content")).text == SECRET


@asynchronous
@pytest.mark.parametrize("key", ["bob", "dave"])
@pytest.mark.parametrize("route", TWIN_STORES, ids=lambda route: f"{route[0]} {route[1]}")
async def test_a_hidden_store_answers_as_one_that_does_not_exist(
    live: LiveKnowledge, places: Places, route: tuple[str, str, Any], key: str
) -> None:
    async with live.http(key) as client:
        missing = await _told(client, route, {"own": places.own_file, **NOWHERE})
        assert missing[0] in (403, 404)
        hidden = {"store": places.closed_store, "batch": places.closed_batch, "own": places.own_file}
        assert await _told(client, route, hidden) == missing


@asynchronous
@pytest.mark.parametrize("route", TWIN_BATCHES, ids=lambda route: f"{route[0]} {route[1]}")
async def test_a_batch_of_hidden_files_looks_like_one_whose_files_are_gone(
    live: LiveKnowledge, places: Places, route: tuple[str, str, Any]
) -> None:
    async with live.http("bob") as bob:
        emptied = await _told(bob, route, {"open": places.open_store, "batch": places.emptied_batch})
        assert emptied[0] == 200
        assert await _told(bob, route, {"open": places.open_store, "batch": places.secret_batch}) == emptied


@asynchronous
async def test_counts_lists_and_searches_do_not_tell_of_hidden_documents(live: LiveKnowledge, places: Places) -> None:
    searches = [
        {"query": "takeover Borealis", "filters": filters}
        for filters in (None, {"type": "eq", "key": "team", "value": "deals"}, {"type": "ne", "key": "x", "value": 1})
    ]
    async with live.http("alice") as alice, live.http("bob") as bob:
        twins = [await made(alice, "vector_stores", {"name": "twin"}) for _ in range(2)]
        own = await uploaded(bob, "own.txt", b"The takeover of the tea kitchen is complete.")
        for store in twins:
            await made(bob, f"vector_stores/{store}/files", {"file_id": own})
        for text in (SECRET, "Borealis again."):
            hidden = await uploaded(alice, "secret.txt", text.encode())
            await made(
                alice, f"vector_stores/{twins[0]}/files", {"file_id": hidden, "attributes": {"labels": "finance"}}
            )
        await settled(alice, twins[0])
        await settled(alice, twins[1])
        assert (await alice.get(f"vector_stores/{twins[0]}")).json()["file_counts"]["total"] == 3
        routes = [
            ("GET", "vector_stores/{store}", None),
            ("GET", "vector_stores/{store}/files", None),
            ("GET", "vector_stores/{store}/files?filter=completed&limit=1", None),
            *(("POST", "vector_stores/{store}/search", body) for body in searches),
        ]
        for route in routes:
            hidden_beside, alone = [await _told(bob, route, {"store": store, "own": own}) for store in twins]
            assert re.sub(r'"last_active_at":\d+', "", str(hidden_beside)) == re.sub(
                r'"last_active_at":\d+', "", str(alone)
            )
        listed = (await bob.get("files")).json()["data"]
        assert {one["filename"] for one in listed} == {"own.txt"}


@asynchronous
async def test_an_answer_is_made_of_what_its_caller_may_see(live: LiveKnowledge, places: Places) -> None:
    live.engine.saying = "At 41 crowns. [1]"
    body = {"model": "ask", "messages": [{"role": "user", "content": "When does the takeover of Borealis close?"}]}
    async with live.http("bob") as bob, live.http("alice") as alice:
        before = len(live.engine.requests)
        refused = (await bob.post("chat/completions", json=body)).json()["choices"][0]
        assert "41 crowns" not in json.dumps([one.body for one in live.engine.requests[before:]])
        assert "annotations" not in refused["message"] or refused["message"]["annotations"] == []
        told = (await alice.post("chat/completions", json=body)).json()["choices"][0]
        assert told["message"]["annotations"][0]["url_citation"]["file_id"] == places.secret_file
