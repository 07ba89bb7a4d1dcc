"""Handing a request over to an app in another process."""

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from serving.api.wire import CONTEXT, open_context
from serving.relay import PlainRequest, PlainResponse, Relay, answer


async def _echo(request: Request) -> Response:
    body = (await request.body()).decode()
    shown = {"path": request.url.path, "query": dict(request.query_params), "body": body, "method": request.method}
    return JSONResponse(shown, status_code=201, headers={"x-made-by": request.headers["x-asked-by"]})


async def _silent(request: Request) -> Response:
    raise RuntimeError("the app broke")


TARGET = Starlette(routes=[Route("/admin/v1/echo", _echo, methods=["GET", "POST"]), Route("/admin/v1/broken", _silent)])


async def _call(request: PlainRequest) -> PlainResponse:
    return await answer(TARGET, request)


def _client(relay: Relay) -> httpx.AsyncClient:
    app = Starlette(routes=[Mount("/admin", relay)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_a_request_arrives_whole_and_so_does_its_answer() -> None:
    async with _client(Relay(_call, timeout_s=5)) as client:
        got = await client.post("/admin/v1/echo?a=1&b=%20", content="hello", headers={"x-asked-by": "me"})
    assert got.status_code == 201
    assert got.headers["x-made-by"] == "me"
    assert got.json() == {
        "path": "/admin/v1/echo",
        "query": {"a": "1", "b": " "},
        "body": "hello",
        "method": "POST",
    }


async def test_the_other_process_is_told_the_id_that_the_gateway_knows_the_request_by() -> None:
    told: list[bytes] = []

    async def call(request: PlainRequest) -> PlainResponse:
        told.extend(value for name, value in request[3] if name == b"x-request-id")
        return await _call(request)

    relay = Relay(call, timeout_s=5)

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CONTEXT] = open_context(scope)
        await relay(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://gateway") as client:
        for given in ({}, {"x-request-id": "mine"}, {"x-request-id": "not an id"}):
            await client.get("/admin/v1/echo", headers={"x-asked-by": "me"} | given)
    made, kept, replaced = told
    assert made.startswith(b"req-")
    assert kept == b"mine"
    assert replaced.startswith(b"req-")


async def test_an_app_that_breaks_is_a_503_in_the_openai_envelope() -> None:
    async with _client(Relay(_call, timeout_s=5)) as client:
        got = await client.get("/admin/v1/broken")
    assert got.status_code == 503
    assert got.headers["retry-after"] == "2"
    assert got.json()["error"]["code"] == "not_ready"


async def test_a_process_that_does_not_answer_is_not_waited_for_longer_than_the_limit() -> None:
    async def never(_: PlainRequest) -> PlainResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with _client(Relay(never, timeout_s=0.05)) as client:
        assert (await client.get("/admin/v1/echo")).status_code == 503


async def test_a_body_that_its_caller_never_finished_is_not_handed_over() -> None:
    asked: list[PlainRequest] = []

    async def call(request: PlainRequest) -> PlainResponse:
        asked.append(request)
        return 200, [], b""

    messages: list[Message] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/v1/files", "query_string": b"", "headers": []}
    await Relay(call, timeout_s=5)(scope, receive, send)
    assert (asked, sent) == ([], [])
