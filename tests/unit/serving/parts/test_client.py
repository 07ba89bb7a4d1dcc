"""A part over HTTP, on loopback: what goes through, and what becomes of everything that can go wrong."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from retrieval.errors import FilterInvalid, IndexUnavailable, KnowledgeError, VectorStoreNotFound
from retrieval.types import Access
from serving.config import GatewayConfig, parse_config
from serving.knowledge.protocol import SearchRequest, SearchResult
from serving.parts.app import PartApi
from serving.parts.client import RemoteParts
from tests.integration.instance import free_port
from tests.lifecycle import until
from tests.live import served

TOKEN = "a long random text"
REQUEST = SearchRequest(("handbook",), "how much?", 3, Access(frozenset({"hr"})))


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAPLEX_SERVICE_TOKEN", TOKEN)


def _config(url: str = "http://127.0.0.1:9", **sections: Any) -> GatewayConfig:
    services = {"control": {"url": url}, "knowledge": {"url": url}}
    plain = {"model": {"id": "org/tiny"}, "engine": {"kind": "fake"}, "knowledge": {}, "services": services}
    return parse_config(plain | sections)


async def _echo(request: Request) -> Response:
    shown = {
        "path": request.url.path,
        "query": request.url.query,
        "body": (await request.body()).decode(),
        "headers": dict(request.headers),
    }
    return JSONResponse(shown, status_code=201, headers={"x-made-by": "control"})


async def _packed(request: Request) -> Response:
    return Response(gzip.compress(b"packed"), headers={"content-encoding": "gzip"})


async def _elsewhere(request: Request) -> Response:
    return RedirectResponse("http://127.0.0.1:9/")


class Part:
    """Stands for a control plane and a knowledge service: says what reached it."""

    def __init__(self, outcome: SearchResult | KnowledgeError = SearchResult(())) -> None:  # noqa: B008
        self.outcome = outcome
        self.asked: list[SearchRequest] = []
        self.held = 0
        self.free = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/admin/packed", _packed),
                Route("/admin/elsewhere", _elsewhere),
                Route("/v1/slow", self._slow),
                Route("/admin/{rest:path}", _echo, methods=["GET", "POST"]),
            ]
        )

    async def _slow(self, request: Request) -> Response:
        self.held += 1
        await self.free.wait()
        return Response()

    async def search(self, request: SearchRequest) -> SearchResult:
        self.asked.append(request)
        if isinstance(self.outcome, KnowledgeError):
            raise self.outcome
        return self.outcome

    async def metrics_text(self) -> bytes:
        return b"# metrics\n"


@asynccontextmanager
async def _connected(part: Part, **sections: Any) -> AsyncIterator[tuple[RemoteParts, str, PartApi]]:
    """The part behind its HTTP surface, and a gateway's side of it."""
    api = PartApi(_config(**sections), "knowledge")
    api.begin(part, part.metrics_text, part)
    async with served(api.app) as url:
        remote = RemoteParts(_config(url))
        try:
            yield remote, url, api
        finally:
            await remote.close()


def _gateway(remote: RemoteParts) -> httpx.AsyncClient:
    assert remote.control is not None
    return httpx.AsyncClient(transport=httpx.ASGITransport(remote.control), base_url="http://gateway")


async def _search(remote: RemoteParts) -> SearchResult:
    assert remote.knowledge is not None
    return await remote.knowledge.search(REQUEST)


async def test_a_request_goes_through_whole_with_the_callers_key() -> None:
    async with _connected(Part()) as (remote, _, _), _gateway(remote) as client:
        headers = {"authorization": "Bearer mine", "connection": "close", "expect": "100-continue"}
        got = await client.post("/admin/v1/a%20b/%C3%A9?x=1&y=%20", content="hello", headers=headers)
    assert got.status_code == 201
    assert got.headers["x-made-by"] == "control"
    shown = got.json()
    assert (shown["path"], shown["query"], shown["body"]) == ("/admin/v1/a b/é", "x=1&y=%20", "hello")
    assert shown["headers"]["authorization"] == "Bearer mine"
    assert TOKEN not in str(shown["headers"])
    assert "expect" not in shown["headers"]


async def test_a_body_that_is_compressed_stays_so_and_a_redirect_is_the_callers_to_follow() -> None:
    async with _connected(Part()) as (remote, _, _), _gateway(remote) as client:
        assert (await client.get("/admin/packed")).content == b"packed"
        assert (await client.get("/admin/elsewhere")).status_code == 307


async def test_a_search_is_answered_for_the_caller_that_it_names() -> None:
    part = Part(SearchResult((), notes=("words alone",)))
    async with _connected(part) as (remote, _, _):
        assert await _search(remote) == part.outcome
        assert remote.knowledge is not None
        assert await remote.knowledge.metrics_text() == b"# metrics\n"
    assert part.asked == [REQUEST]


@pytest.mark.parametrize(
    "error", [FilterInvalid("no", param="filters.x"), VectorStoreNotFound("none"), IndexUnavailable("gone")]
)
async def test_what_a_search_raises_there_is_raised_here(error: KnowledgeError) -> None:
    async with _connected(Part(error)) as (remote, _, _):
        with pytest.raises(type(error)) as caught:
            await _search(remote)
    assert str(caught.value) == str(error)


async def test_a_search_does_not_wait_for_what_else_is_asked_of_the_knowledge() -> None:
    part = Part()
    async with _connected(part) as (remote, _, _):
        assert remote.knowledge is not None
        app = httpx.ASGITransport(remote.knowledge.app)
        async with httpx.AsyncClient(transport=app, base_url="http://gateway", timeout=60) as client:
            asking = [asyncio.create_task(client.get("/v1/slow")) for _ in range(80)]
            await until(lambda: part.held >= 64, "as many requests as there are connections")
            assert await asyncio.wait_for(_search(remote), 10) == part.outcome
            part.free.set()
            assert {one.status_code for one in await asyncio.gather(*asking)} == {200}


async def test_nobody_searches_in_the_name_of_others_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part()
    async with _connected(part) as (_, url, _), httpx.AsyncClient(base_url=url, trust_env=False) as http:
        for headers in ({}, {"authorization": "Bearer other"}):
            refused = await http.post("/internal/v1/search", content=b"{}", headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
            assert (await http.get("/internal/v1/metrics", headers=headers)).status_code == 401
        monkeypatch.setenv("LORAPLEX_SERVICE_TOKEN", "another")
        remote = RemoteParts(_config(url))
        with pytest.raises(IndexUnavailable, match="answered 401"):
            await _search(remote)
        await remote.close()
    assert part.asked == []


async def test_a_part_that_is_not_ready_says_so_and_becomes_ready() -> None:
    api, part = PartApi(_config(), "control"), Part()
    async with served(api.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/healthz")).status_code == 200
        for path in ("/readyz", "/admin/v1/adapters", "/metrics"):
            early = await http.get(path)
            assert (early.status_code, early.headers["retry-after"]) == (503, "2")
            assert early.json()["error"]["message"] == "The control process is not ready: it is starting."
        api.begin(part, part.metrics_text)
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        assert (await http.get("/metrics")).text == "# metrics\n"
        api.end()
        assert "it is stopping" in (await http.get("/readyz")).text


async def test_metrics_are_for_administrators_and_scrapers_where_keys_are_asked_for() -> None:
    keys = [{"name": "ops", "hash": "sha256:" + "0" * 64}]
    async with (
        _connected(Part(), api_keys=keys) as (remote, url, _),
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        assert (await http.get("/metrics")).status_code == 401
        assert remote.knowledge is not None
        assert await remote.knowledge.metrics_text() == b"# metrics\n"


async def test_a_control_process_has_no_way_around_the_key_for_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LORAPLEX_SERVICE_TOKEN")
    monkeypatch.setenv("SCRAPERS", "theirs")
    api, part = PartApi(_config(metrics={"token_env": "SCRAPERS"}), "control"), Part()
    api.begin(part, part.metrics_text)
    async with served(api.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/internal/v1/metrics")).status_code == 404
        assert (await http.post("/internal/v1/search", content=b"{}")).status_code == 404
        assert (await http.get("/metrics", headers={"authorization": "Bearer theirs"})).text == "# metrics\n"


async def test_a_body_over_the_limit_is_refused() -> None:
    async with _connected(Part(), server={"max_body_bytes": 1024}) as (remote, _, _), _gateway(remote) as client:
        got = await client.post("/admin/v1/x", content=b"x" * 2000)
    assert (got.status_code, got.json()["error"]["code"]) == (413, "body_too_large")


async def test_a_process_that_is_away_is_a_503_in_one_sentence_and_is_found_when_it_is_back() -> None:
    remote = RemoteParts(_config(f"http://127.0.0.1:{free_port()}"))
    async with _gateway(remote) as client:
        got = await client.get("/admin/v1/adapters")
    assert (got.status_code, got.headers["retry-after"]) == (503, "2")
    assert got.json()["error"]["message"] == "The control process is starting or restarting; try again in a moment."
    with pytest.raises(IndexUnavailable, match="does not answer"):
        await _search(remote)
    await remote.close()
    await remote.close()


async def test_a_process_that_answers_something_else_is_away() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    remote = RemoteParts(_config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    with pytest.raises(IndexUnavailable):
        await _search(remote)
    async with _gateway(remote) as client:
        assert (await client.get("/admin/v1/adapters")).status_code == 503
    await remote.close()
    server.close()
    await server.wait_closed()
