"""Every answer is an instance of the schema that OpenAI's API description has for it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.harness import ANSWER_SCHEMA, BASE, RunningGateway
from tests.api.openai_schema import check, is_valid, requires_description

pytestmark = requires_description

USER = {"role": "user", "content": "call get_weather please"}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER_SCHEMA, "strict": True}}

CHAT: dict[str, dict[str, Any]] = {
    "plain": {},
    "adapter": {"model": "triage"},
    "task": {"model": "support"},
    "contract": {"model": "labels", "messages": [{"role": "user", "content": "printer on fire"}]},
    "several": {"n": 3},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "tools": {"tools": [TOOL], "tool_choice": "auto"},
    "forced tool": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    "structured": {"response_format": FORMAT},
    "cut off": {"max_tokens": 2},
    "seeded": {"seed": 7, "stop": ["please"], "temperature": 0.0, "user": "someone"},
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adapter": {"model": "triage"},
    "several prompts": {"prompt": ["one", "two"], "n": 2},
    "logprobs": {"logprobs": 2},
    "cut off": {"max_tokens": 1},
}
RESPONSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "adapter": {"model": "triage", "metadata": {"ticket": "7"}},
    "items": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]},
    "contract": {"model": "labels"},
    "instructions": {"instructions": "Be brief.", "temperature": 0.5, "top_p": 0.9},
    "cut off": {"max_output_tokens": 2},
    "tools": {
        "tools": [{"type": "function", **TOOL["function"], "strict": False}],  # type: ignore[dict-item]
        "input": "call get_weather please",
    },
    "structured": {"text": {"format": {"type": "json_schema", "name": "answer", "schema": ANSWER_SCHEMA}}},
    "logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 1},
}


async def _events(gateway: RunningGateway, path: str, body: dict[str, Any]) -> AsyncIterator[tuple[str | None, Any]]:
    async with gateway.http.stream("POST", path, json=body | {"stream": True}) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        name: str | None = None
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and line != "data: [DONE]":
                yield name, json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("extra", CHAT.values(), ids=CHAT)
async def test_chat_completions(gateway: RunningGateway, extra: dict[str, Any]) -> None:
    answer = await gateway.http.post("/v1/chat/completions", json={"model": BASE, "messages": [USER]} | extra)
    assert answer.status_code == 200, answer.text
    check("CreateChatCompletionResponse", answer.json())


@pytest.mark.parametrize("usage", [True, False], ids=["usage", "no usage"])
@pytest.mark.parametrize("extra", CHAT.values(), ids=CHAT)
async def test_chat_completion_chunks(gateway: RunningGateway, extra: dict[str, Any], *, usage: bool) -> None:
    body = {"model": BASE, "messages": [USER], "stream_options": {"include_usage": usage}} | extra
    chunks = [chunk async for _, chunk in _events(gateway, "/v1/chat/completions", body)]
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)
    assert bool(chunks[-1].get("usage")) is usage


@pytest.mark.parametrize("extra", COMPLETIONS.values(), ids=COMPLETIONS)
async def test_completions(gateway: RunningGateway, extra: dict[str, Any]) -> None:
    answer = await gateway.http.post("/v1/completions", json={"model": BASE, "prompt": "once upon a time"} | extra)
    assert answer.status_code == 200, answer.text
    check("CreateCompletionResponse", answer.json())


@pytest.mark.parametrize("extra", COMPLETIONS.values(), ids=COMPLETIONS)
async def test_completion_chunks(gateway: RunningGateway, extra: dict[str, Any]) -> None:
    body = {"model": BASE, "prompt": "once upon a time"} | extra
    async for _, chunk in _events(gateway, "/v1/completions", body):
        # The description has one schema for answers and chunks, and forgets that a chunk before the last has no
        # reason to finish yet.
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        check("CreateCompletionResponse", chunk)


@pytest.mark.parametrize("extra", RESPONSES.values(), ids=RESPONSES)
async def test_responses(gateway: RunningGateway, extra: dict[str, Any]) -> None:
    answer = await gateway.http.post("/v1/responses", json={"model": BASE, "input": "hello there"} | extra)
    assert answer.status_code == 200, answer.text
    check("Response", answer.json())


@pytest.mark.parametrize("extra", RESPONSES.values(), ids=RESPONSES)
async def test_response_events(gateway: RunningGateway, extra: dict[str, Any]) -> None:
    body = {"model": BASE, "input": "hello there"} | extra
    seen = [event async for event in _events(gateway, "/v1/responses", body)]
    assert [event["sequence_number"] for _, event in seen] == list(range(len(seen)))
    for name, event in seen:
        assert name == event["type"]
        check("ResponseStreamEvent", event)


async def test_models(gateway: RunningGateway) -> None:
    answer = await gateway.http.get("/v1/models")
    check("ListModelsResponse", answer.json())
    for model in answer.json()["data"]:
        one = await gateway.http.get(f"/v1/models/{model['id']}")
        check("Model", one.json())
        assert one.json() == model


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", {"model": "nope", "messages": [USER]}),
        ("POST", "/v1/chat/completions", {"model": BASE, "messages": []}),
        ("POST", "/v1/responses", {"model": BASE, "input": "x", "previous_response_id": "resp_1"}),
        ("GET", "/v1/responses/resp_1", None),
        ("GET", "/v1/nothing", None),
        ("PUT", "/v1/models", None),
    ],
)
async def test_errors(gateway: RunningGateway, method: str, path: str, body: Any) -> None:
    answer = await gateway.http.request(method, path, json=body)
    assert answer.status_code >= 400
    check("ErrorResponse", answer.json())


def test_the_check_itself_refuses_what_is_wrong() -> None:
    model = {"id": "x", "object": "model", "created": 1, "owned_by": "me"}
    assert is_valid("Model", model)
    assert not is_valid("Model", model | {"created": "yesterday"})
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": None}
    assert is_valid("CreateChatCompletionStreamResponse", chunk)
    assert not is_valid("CreateChatCompletionStreamResponse", chunk | {"choices": [{"index": 0}]})
    assert not is_valid("ResponseStreamEvent", {"type": "response.output_text.delta", "delta": 7})
