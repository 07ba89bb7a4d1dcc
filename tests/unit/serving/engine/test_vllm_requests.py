"""What of an OpenAI request reaches vLLM."""

import json
from typing import Literal

import pytest
from pydantic import BaseModel

from serving.engine.protocol import Endpoint, EngineRejected, EngineRequest, JsonObject
from serving.engine.vllm_requests import prepare, validated

MESSAGES = [{"role": "user", "content": "x"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}


def prepared(endpoint: Endpoint, body: JsonObject, *, stream: bool = False) -> JsonObject:
    request = EngineRequest(endpoint, body, "r")
    before = json.dumps(body)
    made = prepare(request, "a@1", "r-1", stream=stream)
    assert json.dumps(body) == before, "the request was changed"
    return made


def test_the_model_the_id_and_the_mode_are_the_engines() -> None:
    body = {"messages": MESSAGES, "model": "public", "stream": True, "request_id": "theirs"}
    made = prepared(Endpoint.CHAT, body)
    assert (made["model"], made["request_id"], made["stream"]) == ("a@1", "r-1", False)


def test_unknown_fields_pass_through() -> None:
    assert prepared(Endpoint.CHAT, {"messages": MESSAGES, "vllm_xargs": {"a": 1}})["vllm_xargs"] == {"a": 1}


def test_a_stream_always_ends_with_usage_and_keeps_other_options() -> None:
    body = {"messages": MESSAGES, "stream_options": {"include_usage": False, "continuous_usage_stats": True}}
    made = prepared(Endpoint.CHAT, body, stream=True)
    assert made["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert "stream_options" not in prepared(Endpoint.RESPONSES, {"input": "x"}, stream=True)


def test_functions_take_objects() -> None:
    made = prepared(Endpoint.CHAT, {"messages": MESSAGES, "tools": [TOOL]})
    assert made["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {"a": {}}}
    flat = {"type": "function", "name": "f"}
    made = prepared(Endpoint.RESPONSES, {"input": "x", "tools": [flat]})
    assert made["tools"][0]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("body", "param"),
    [({"tools": "f"}, "tools"), ({"tools": [TOOL | {"function": "f"}]}, "tools[0].function")],
)
def test_tools_of_the_wrong_shape_are_refused(body: JsonObject, param: str) -> None:
    with pytest.raises(EngineRejected) as refusal:
        prepared(Endpoint.CHAT, {"messages": MESSAGES, **body})
    assert refusal.value.param == param


def test_responses_are_not_stored() -> None:
    assert prepared(Endpoint.RESPONSES, {"input": "x"})["store"] is False


class Text(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    role: str
    content: str | list[Text]


class Body(BaseModel):
    messages: list[Message]
    n: int = 1


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": [], "n": "many"}, "n", "invalid_value"),
        ({}, "messages", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
    ],
)
def test_the_field_that_is_wrong_is_named(body: JsonObject, param: str, code: str) -> None:
    with pytest.raises(EngineRejected) as refusal:
        validated(Body, body)
    assert (refusal.value.param, refusal.value.code) == (param, code)
    assert param in str(refusal.value)
