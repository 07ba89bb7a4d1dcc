"""Hostile filters, attributes, names, ids and questions: refused or taken as data, never a 5xx, never a leak."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.embedding_server import embedding_server
from tests.hostile_knowledge import ATTRIBUTES, FILE_NAMES, FILTERS, IDS, INJECTIONS, QUERIES
from tests.knowledge_live import LiveKnowledge, key_of, knowledge_config, live_gateway, made, settled, uploaded

asynchronous = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Places:
    """A store with a document of alice's that bob may not see, and one of his own."""

    open_store: str
    secret_file: str
    own_file: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveKnowledge]:
    with embedding_server() as embeddings:
        config = knowledge_config(
            tmp_path_factory.mktemp("hostile"),
            knowledge={"embedder": {"url": embeddings, "model": "words", "max_tokens": 128}},
            api_keys=[
                key_of("alice", labels=["finance"], writes_knowledge=True),
                key_of("bob", labels=["hr"], writes_knowledge=True),
            ],
        )
        async with live_gateway(config) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(live: LiveKnowledge) -> Places:
    async with live.http("alice") as alice, live.http("bob") as bob:
        store = await made(alice, "vector_stores", {"name": "open"})
        secret = await uploaded(alice, "secret.txt", b"The takeover of Borealis closes at 41 crowns a share.")
        body = {"file_id": secret, "attributes": {"labels": "finance", "team": "deals"}}
        await made(alice, f"vector_stores/{store}/files", body)
        await settled(alice, store)
        return Places(store, secret, await uploaded(bob, "own.txt", b"Bob likes tea."))


@dataclass(slots=True)
class Attack:
    """Sends what is hostile, and looks at every answer."""

    client: httpx.AsyncClient
    cases: int = 0

    async def post(self, path: str, body: Any) -> httpx.Response:
        """Python's own JSON: with NaN, and with halves of surrogate pairs."""
        content = json.dumps(body).encode()
        return self.seen(await self.client.post(path, content=content, headers=JSON), str(body)[:200])

    def seen(self, answer: httpx.Response, what: str) -> httpx.Response:
        self.cases += 1
        assert answer.status_code < 500, (what, answer.text)
        assert "Borealis" not in answer.text, what
        if answer.is_error:
            assert answer.json()["error"]["message"], what
        return answer


@pytest_asyncio.fixture(loop_scope="module")
async def attack(live: LiveKnowledge, places: Places) -> AsyncIterator[Attack]:
    """Bob's, who may write. What he does changes nothing of alice's."""
    async with live.http("bob") as bob, live.http("alice") as alice:
        yield Attack(bob)
        found = await alice.post(f"vector_stores/{places.open_store}/search", json={"query": "takeover of Borealis"})
        assert places.secret_file in [one["file_id"] for one in found.json()["data"]]
        assert (await bob.get(f"files/{places.own_file}")).status_code == 200


@asynchronous
async def test_no_filter_or_question_breaks_a_search_or_shows_a_hidden_document(attack: Attack, places: Places) -> None:
    search = f"vector_stores/{places.open_store}/search"
    for filters in FILTERS:
        await attack.post(search, {"query": "takeover crowns", "filters": filters})
    for query in QUERIES:
        await attack.post(search, {"query": query})
        await attack.post(search + "?explain=true", {"query": [query], "max_num_results": 50})
    for value in (*INJECTIONS, 0, -1, 51, 10**30, 1.5, None):
        await attack.post(search, {"query": "takeover", "max_num_results": value})
        await attack.post(search, {"query": "takeover", "ranking_options": {"score_threshold": value}})
        await attack.post(search, {"query": "takeover", "ranking_options": value})
    assert attack.cases > 400


@asynchronous
async def test_no_attribute_breaks_a_store_or_opens_a_document(attack: Attack, places: Places) -> None:
    path = f"vector_stores/{places.open_store}/files"
    for attributes in ATTRIBUTES:
        attached = await attack.post(path, {"file_id": places.own_file, "attributes": attributes})
        changed = await attack.post(f"{path}/{places.own_file}", {"attributes": attributes})
        if attached.status_code == changed.status_code == 200:
            shown = attack.seen(await attack.client.get(f"{path}/{places.own_file}"), str(attributes)[:200])
            assert shown.json()["attributes"] == changed.json()["attributes"]
        attack.seen(await attack.client.get(path), "list")
    for text in INJECTIONS:
        for body in (
            {"name": text},
            {"name": "x", "metadata": {text: text}},
            {"name": "x", "metadata": {"labels": text}},
        ):
            answer = await attack.post("vector_stores", body)
            if answer.status_code == 200:
                assert (await attack.client.delete(f"vector_stores/{answer.json()['id']}")).status_code == 200
        await attack.post(path, {"file_id": text})
        await attack.post(f"vector_stores/{places.open_store}/file_batches", {"file_ids": [text]})
        await attack.post("vector_stores", {"name": "x", "file_ids": [text]})
    assert attack.cases > 400


@asynchronous
async def test_no_file_name_leaves_its_folder_or_its_header(attack: Attack) -> None:
    for name in FILE_NAMES:
        answer = await attack.client.post("files", files={"file": (name, b"plain")}, data={"purpose": "assistants"})
        if attack.seen(answer, name[:200]).status_code != 200:
            continue
        shown = answer.json()
        assert 0 < len(shown["filename"]) <= 255
        assert not set(shown["filename"]) & set("/\\\r\n\x00\u202e"), shown["filename"]
        content = await attack.client.get(f"files/{shown['id']}/content")
        assert (content.status_code, content.content) == (200, b"plain")
        assert "set-cookie" not in content.headers
        assert (await attack.client.delete(f"files/{shown['id']}")).status_code == 200
    for purpose in INJECTIONS:
        data = {"purpose": purpose.encode("utf-8", "replace").decode()}
        attack.seen(await attack.client.post("files", files={"file": ("a.txt", b"x")}, data=data), purpose[:200])
    assert attack.cases > 100


@asynchronous
async def test_no_id_reaches_anything_that_is_not_its_own(attack: Attack, places: Places) -> None:
    store = f"vector_stores/{places.open_store}"
    for one in IDS:
        for path in (
            f"files/{one}",
            f"files/{one}/content",
            f"files?after={one}",
            f"files?purpose={one}",
            f"files?limit={one}",
            f"vector_stores/{one}",
            f"vector_stores?after={one}&before={one}",
            f"{store}/files/{one}",
            f"{store}/files/{one}/content",
            f"{store}/files?after={one}",
            f"{store}/files?filter={one}",
            f"{store}/files?order={one}",
            f"{store}/file_batches/{one}",
            f"{store}/file_batches/{one}/files",
        ):
            attack.seen(await attack.client.get(path), path[:200])
        attack.seen(await attack.client.delete(f"files/{one}"), one[:200])
        attack.seen(await attack.client.delete(f"{store}/files/{one}"), one[:200])
    assert attack.cases > 200


def test_what_is_sent_as_hostile_is_at_least_two_hundred_things() -> None:
    assert len(FILTERS) + len(ATTRIBUTES) + len(FILE_NAMES) + len(IDS) + len(QUERIES) >= 200
