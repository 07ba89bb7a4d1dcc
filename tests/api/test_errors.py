"""Every refusal is an OpenAI error, whatever the path, and raises the SDK's own class."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from serving.engine.protocol import EngineAdapterError, EngineFailed, EngineRejected, EngineUnavailable
from tests.api.harness import BASE, RunningGateway

HELLO: Any = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"


async def _expect(
    gateway: RunningGateway, status: int, code: str, method: str = "POST", path: str = CHAT, **request: Any
) -> dict[str, Any]:
    answer = await gateway.http.request(method, path, **request)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["message"]
    return error


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v1/models/", "/docs", "/openapi.json", "/%ff%00"]
)
async def test_an_unknown_url(gateway: RunningGateway, path: str) -> None:
    await _expect(gateway, 404, "model_not_found" if path == "/v1/models/" else "unknown_url", "GET", path)


@pytest.mark.parametrize("path", ["/v1/files/file%00", "/admin/v1/adapters/a%00b", "/v1/fine_tuning/jobs/%00"])
async def test_no_id_holds_a_character_that_a_database_refuses(gateway: RunningGateway, path: str) -> None:
    await _expect(gateway, 404, "unknown_url", "GET", path)
    await _expect(gateway, 400, "invalid_request", "GET", "/v1/files?after=a%00b")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", "/v1/completions", "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("DELETE", "/v1/models/x", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PATCH", "/v1/responses/resp_1", "DELETE, GET, HEAD"),
    ],
)
async def test_a_wrong_method(gateway: RunningGateway, method: str, path: str, allow: str) -> None:
    answer = await gateway.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    assert answer.json()["error"]["code"] == "method_not_allowed"


async def test_options_tells_the_methods(gateway: RunningGateway) -> None:
    answer = await gateway.http.options(CHAT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "POST, OPTIONS"


async def test_head_on_a_url_that_takes_posts(gateway: RunningGateway) -> None:
    answer = await gateway.http.head(CHAT)
    assert (answer.status_code, answer.content) == (405, b"")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"not json",
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'{"model": "x", "messages": ' + b"[" * 400 + b"]" * 400 + b"}",
    ],
    ids=["empty", "cut off", "text", "nan", "utf-8", "surrogate", "unclosed", "deep", "nested"],
)
async def test_a_body_that_is_not_json(gateway: RunningGateway, content: bytes) -> None:
    await _expect(gateway, 400, "invalid_json", content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("content", [b"[]", b'"text"', b"1", b"null"])
async def test_json_that_is_not_an_object(gateway: RunningGateway, content: bytes) -> None:
    await _expect(gateway, 400, "invalid_request", content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
async def test_a_wrong_content_type(gateway: RunningGateway, kind: str) -> None:
    await _expect(gateway, 415, "unsupported_content_type", content=b"{}", headers={"content-type": kind})


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/foo+json", None])
async def test_json_by_other_names_is_welcome(gateway: RunningGateway, kind: str | None) -> None:
    content = json.dumps({"model": BASE, "messages": HELLO})
    headers = {} if kind is None else {"content-type": kind}
    assert (await gateway.http.post(CHAT, content=content, headers=headers)).status_code == 200


async def test_a_body_that_says_it_is_too_large(gateway: RunningGateway) -> None:
    body = {"model": BASE, "messages": [{"role": "user", "content": "x" * (8 * 1024 * 1024)}]}
    await _expect(gateway, 413, "body_too_large", json=body)
    await _expect(gateway, 413, "body_too_large", path="/admin/v1/adapters", json=body)


async def test_a_body_that_turns_out_too_large(gateway: RunningGateway) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b"x" * (1024 * 1024)

    await _expect(gateway, 413, "body_too_large", content=pieces())
    await _expect(gateway, 413, "body_too_large", path="/admin/v1/adapters", content=pieces())
    assert not gateway.engine.requests


_BAD_REQUESTS: list[tuple[str, dict[str, Any], str]] = [
    ("chat/completions", {"messages": HELLO}, "model"),
    ("chat/completions", {"model": 7, "messages": HELLO}, "model"),
    ("chat/completions", {"model": "", "messages": HELLO}, "model"),
    ("chat/completions", {"model": BASE}, "messages"),
    ("chat/completions", {"model": BASE, "messages": []}, "messages"),
    ("chat/completions", {"model": BASE, "messages": "hi"}, "messages"),
    ("chat/completions", {"model": BASE, "messages": ["hi"]}, "messages[0]"),
    ("chat/completions", {"model": BASE, "messages": [*HELLO, {"role": "robot", "content": "x"}]}, "messages[1].role"),
    ("chat/completions", {"model": BASE, "messages": [{"content": "x"}]}, "messages[0].role"),
    ("chat/completions", {"model": BASE, "messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ("chat/completions", {"model": BASE, "messages": [{"role": "user"}]}, "messages[0].content"),
    ("chat/completions", {"model": BASE, "messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    ("chat/completions", {"model": BASE, "messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ("chat/completions", {"model": BASE, "messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
    ("chat/completions", {"model": BASE, "messages": HELLO, "stream": "yes"}, "stream"),
    ("chat/completions", {"model": BASE, "messages": HELLO, "stream_options": {}}, "stream_options"),
    ("chat/completions", {"model": BASE, "messages": HELLO, "stream": True, "stream_options": 1}, "stream_options"),
    (
        "chat/completions",
        {"model": BASE, "messages": HELLO, "stream": True, "stream_options": {"include_usage": 1}},
        "stream_options.include_usage",
    ),
    ("chat/completions", {"model": BASE, "messages": HELLO, "n": 0}, "n"),
    ("chat/completions", {"model": BASE, "messages": HELLO, "n": 1.5}, "n"),
    ("chat/completions", {"model": BASE, "messages": HELLO, "n": True}, "n"),
    ("chat/completions", {"model": BASE, "messages": HELLO, "n": 129}, "n"),
    ("completions", {"model": BASE}, "prompt"),
    ("completions", {"model": BASE, "prompt": []}, "prompt"),
    ("completions", {"model": BASE, "prompt": ["a", 1]}, "prompt"),
    ("completions", {"model": BASE, "prompt": [[1, "a"]]}, "prompt"),
    ("completions", {"model": BASE, "prompt": {"a": 1}}, "prompt"),
    ("responses", {"model": BASE}, "input"),
    ("responses", {"model": BASE, "input": []}, "input"),
    ("responses", {"model": BASE, "input": [1]}, "input[0]"),
    ("responses", {"model": BASE, "input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
    ("responses", {"model": BASE, "input": [{"role": "user"}]}, "input[0].content"),
    ("responses", {"model": BASE, "input": "x", "instructions": 1}, "instructions"),
    ("responses", {"model": BASE, "input": "x", "metadata": "m"}, "metadata"),
    ("responses", {"model": BASE, "input": "x", "text": "json"}, "text"),
]


@pytest.mark.parametrize(("path", "body", "param"), _BAD_REQUESTS)
async def test_a_malformed_request_names_the_field(
    gateway: RunningGateway, path: str, body: dict[str, Any], param: str
) -> None:
    async with gateway.sdk() as sdk:
        with pytest.raises(openai.BadRequestError) as refusal:
            await sdk.post(f"/{path}", body=body, cast_to=object)
    assert refusal.value.param == param
    assert not gateway.engine.requests


@pytest.mark.parametrize("stream", [True, False])
async def test_an_unknown_model_is_not_found_before_any_work(gateway: RunningGateway, *, stream: bool) -> None:
    async with gateway.sdk() as sdk:
        with pytest.raises(openai.NotFoundError) as refusal:
            await sdk.chat.completions.create(model="gpt-9", messages=HELLO, stream=stream)
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")
    assert not gateway.engine.requests
    assert b"gpt-9" not in gateway.metrics.render()
    assert gateway.total("loraplex_refused_requests_total", code="model_not_found") == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("failure", "raised", "status", "outcome"),
    [
        (EngineRejected("too long", param="messages", code="context"), openai.BadRequestError, 400, "client_error"),
        (EngineRejected("too big", status=422), openai.UnprocessableEntityError, 422, "client_error"),
        (EngineFailed("stumbled"), openai.InternalServerError, 500, "server_error"),
        (EngineUnavailable("dead"), openai.InternalServerError, 503, "unavailable"),
        (EngineAdapterError("gone"), openai.InternalServerError, 503, "unavailable"),
    ],
)
async def test_an_engines_failure_before_the_first_byte_has_its_status(
    gateway: RunningGateway,
    failure: Any,
    raised: type[openai.APIStatusError],
    status: int,
    outcome: str,
    *,
    stream: bool,
) -> None:
    gateway.engine.fail_next(failure)
    async with gateway.sdk() as sdk:
        with pytest.raises(raised, match=str(failure)) as refusal:
            await sdk.chat.completions.create(model="triage", messages=HELLO, stream=stream)
    assert refusal.value.status_code == status
    assert ("retry-after" in refusal.value.response.headers) is (status == 503)
    await gateway.until_idle()
    assert gateway.total("loraplex_requests_total", outcome=outcome) == 1
    assert gateway.residency.held.total() == 0


async def test_an_error_after_the_first_byte_is_the_last_event(gateway: RunningGateway) -> None:
    gateway.engine.fail_next(EngineFailed("stumbled"), after=2)
    async with gateway.sdk() as sdk:
        stream = await sdk.chat.completions.create(model="triage", messages=HELLO, stream=True)
        assert [await anext(stream), await anext(stream)]
        with pytest.raises(openai.APIError, match="stumbled"):
            await anext(stream)
    await gateway.until_idle()
    assert gateway.total("loraplex_requests_total", outcome="server_error") == 1
    assert gateway.total("loraplex_stream_errors_total") == 1
    assert gateway.residency.held.total() == 0


async def test_such_a_stream_has_no_done(gateway: RunningGateway) -> None:
    gateway.engine.fail_next(EngineFailed("stumbled"), after=2)
    answer = await gateway.http.post(CHAT, json={"model": BASE, "messages": HELLO, "stream": True})
    events = [line for line in answer.text.splitlines() if line]
    assert "[DONE]" not in answer.text
    assert json.loads(events[-1].removeprefix("data: ")) == {
        "error": {"message": "stumbled", "type": "server_error", "param": None, "code": "engine_failed"}
    }


async def test_an_unexpected_error_says_nothing_of_its_inside(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.engine.fail_next(RuntimeError("secret path /etc/x"))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, logger="serving"):
        error = await _expect(gateway, 500, "internal_error", json={"model": BASE, "messages": HELLO})
    assert "secret" not in str(error)
    assert "secret path" in caplog.text


async def test_a_gateway_that_is_not_ready_says_when_to_come_back(gateway: RunningGateway) -> None:
    gateway.status.ready, gateway.status.message = False, "loading the model"
    for method, path, body in (("POST", CHAT, {"model": BASE, "messages": HELLO}), ("GET", "/v1/models", None)):
        answer = await gateway.http.request(method, path, json=body)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "loading the model" in answer.json()["error"]["message"]
    assert (await gateway.http.get("/readyz")).status_code == 503
    assert (await gateway.http.get("/healthz")).status_code == 200


async def test_a_task_whose_adapter_is_not_there_yet(gateway: RunningGateway) -> None:
    gateway.residency.saturated.add("triage@11111111")
    async with gateway.sdk() as sdk:
        with pytest.raises(openai.InternalServerError) as refusal:
            await sdk.chat.completions.create(model="support", messages=HELLO)
    assert (refusal.value.status_code, refusal.value.code) == (503, "adapter_pool_saturated")
    assert gateway.total("loraplex_requests_total", outcome="unavailable", task="support") == 1


async def test_a_sane_request_id_is_kept_and_another_replaced(gateway: RunningGateway) -> None:
    for given, kept in (("trace-1.a:b_c", True), ("bad id", False), ("x" * 200, False), ("", False)):
        answer = await gateway.http.get("/healthz", headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is kept
        assert answer.headers["x-request-id"]


async def test_the_same_request_id_twice_at_once_is_two_requests_for_the_engine(gateway: RunningGateway) -> None:
    for _ in range(2):
        body = {"model": BASE, "messages": HELLO}
        await gateway.http.post(CHAT, json=body, headers={"x-request-id": "same", "traceparent": "00-1-2-01"})
    first, second = gateway.engine.requests
    assert first.request_id != second.request_id
    assert first.headers == {"traceparent": "00-1-2-01"}


async def test_the_admin_api_is_handed_over_whole(gateway: RunningGateway) -> None:
    answer = await gateway.http.put("/admin/v1/adapters/x?y=z", content=b"123")
    assert answer.json() == {"path": "/admin/v1/adapters/x", "method": "PUT", "bytes": 3}
    assert answer.headers["x-request-id"]
