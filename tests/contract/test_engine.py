"""What every engine promises (``serving.engine.protocol.Engine``): answers, constraints, refusals."""

import json
import re
from contextlib import aclosing
from typing import Any

import pytest

from serving.engine.protocol import Endpoint, EngineRejected, EngineRequest, JsonObject
from tests.contract.engines import EngineCase

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "note": {"type": "string", "maxLength": 12}},
    "required": ["label", "note"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "parameters": {"properties": {"day": {"const": "today"}}}}
WEATHER = {"type": "function", "function": FUNCTION}


def chat(body: JsonObject, adapter: str | None = None) -> EngineRequest:
    return EngineRequest(Endpoint.CHAT, {"messages": QUESTION, "temperature": 0, **body}, "chat", adapter)


def completion(body: JsonObject, adapter: str | None = None) -> EngineRequest:
    return EngineRequest(Endpoint.COMPLETIONS, {"temperature": 0, **body}, "completion", adapter)


def response(body: JsonObject, adapter: str | None = None) -> EngineRequest:
    return EngineRequest(Endpoint.RESPONSES, {"input": "Say hello.", "temperature": 0, **body}, "response", adapter)


async def streamed(case: EngineCase, request: EngineRequest) -> list[JsonObject]:
    async with aclosing(case.engine.stream(request)) as pieces:
        return [piece async for piece in pieces]


def text_of(answer: JsonObject) -> str:
    return str(answer["choices"][0]["message"]["content"])


async def test_a_chat_answer_is_whole_and_its_usage_adds_up(case: EngineCase) -> None:
    answer = await case.engine.complete(chat({"max_tokens": 8}))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["message"]["refusal"] is None
    assert answer["choices"][0]["logprobs"] is None
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 0
    assert 0 < usage["completion_tokens"] <= 8
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_chat_stream_says_the_same_as_the_whole_answer_and_ends_with_usage(case: EngineCase) -> None:
    request = chat({"max_tokens": 8})
    answer = await case.engine.complete(request)
    *pieces, last = await streamed(case, request)
    assert "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces) == text_of(answer)
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    assert pieces[-1]["choices"][0]["finish_reason"] == answer["choices"][0]["finish_reason"]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert {piece["object"] for piece in [*pieces, last]} == {"chat.completion.chunk"}


async def test_every_choice_of_a_chat_is_answered_whole_and_streamed(case: EngineCase) -> None:
    request = chat({"max_tokens": 4, "n": 3, "temperature": 1, "seed": 1})
    answer = await case.engine.complete(request)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    pieces = await streamed(case, request)
    ended = [c["index"] for piece in pieces for c in piece["choices"] if c["finish_reason"] is not None]
    assert sorted(ended) == [0, 1, 2]


async def test_equal_seeds_give_equal_answers(case: EngineCase) -> None:
    request = chat({"max_tokens": 8, "temperature": 1, "seed": 7})
    assert text_of(await case.engine.complete(request)) == text_of(await case.engine.complete(request))


async def test_an_answer_ends_at_a_stop_string(case: EngineCase) -> None:
    whole = text_of(await case.engine.complete(chat({"max_tokens": 8})))
    stop = whole.split()[2]
    answer = await case.engine.complete(chat({"max_tokens": 8, "stop": [stop]}))
    assert stop not in text_of(answer)
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_an_answer_cut_at_max_tokens_says_so(case: EngineCase) -> None:
    answer = await case.engine.complete(chat({"max_tokens": 1}))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 1


async def test_chat_logprobs_come_with_each_token(case: EngineCase) -> None:
    body = {"max_tokens": 3, "logprobs": True, "top_logprobs": 2}
    logprobs = (await case.engine.complete(chat(body)))["choices"][0]["logprobs"]
    assert logprobs["refusal"] is None
    assert len(logprobs["content"]) == 3
    for token in logprobs["content"]:
        assert token["logprob"] <= 0
        assert bytes(token["bytes"]).decode(errors="replace")
        assert len(token["top_logprobs"]) == 2
    pieces = await streamed(case, chat(body))
    told = [t for p in pieces for c in p["choices"] for t in (c.get("logprobs") or {}).get("content") or ()]
    assert len(told) == 3


async def test_completions_answer_every_prompt_and_every_choice(case: EngineCase) -> None:
    request = completion({"prompt": ["Once upon a time", "The sea"], "n": 2, "max_tokens": 3, "temperature": 1})
    answer = await case.engine.complete(request)
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["completion_tokens"] <= 12
    *pieces, last = await streamed(case, request)
    assert {choice["index"] for piece in pieces for choice in piece["choices"]} == {0, 1, 2, 3}
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == answer["usage"]["prompt_tokens"]


async def test_completions_can_echo_the_prompt(case: EngineCase) -> None:
    answer = await case.engine.complete(completion({"prompt": "Once upon", "max_tokens": 1, "echo": True}))
    assert answer["choices"][0]["text"].startswith("Once upon")


async def test_completions_can_tell_their_logprobs(case: EngineCase) -> None:
    answer = await case.engine.complete(completion({"prompt": "Once upon", "max_tokens": 3, "logprobs": 1}))
    choice = answer["choices"][0]
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    assert len(choice["logprobs"]["token_logprobs"]) == len(choice["logprobs"]["tokens"])


async def test_a_response_is_whole_and_its_usage_adds_up(case: EngineCase) -> None:
    answer = await case.engine.complete(response({"max_output_tokens": 200, "instructions": "Be brief."}))
    assert answer["object"] == "response"
    assert answer["status"] in ("completed", "incomplete")
    assert answer["error"] is None
    assert answer["output"][0]["content"][0]["type"] == "output_text"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_a_response_cut_short_is_incomplete_whole_and_streamed(case: EngineCase) -> None:
    request = response({"max_output_tokens": 1})
    answer = await case.engine.complete(request)
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert (await streamed(case, request))[-1]["type"] == "response.incomplete"


async def test_the_events_of_a_response_are_in_order_and_agree_with_the_last(case: EngineCase) -> None:
    events = await streamed(case, response({"max_output_tokens": 200}))
    kinds = [event["type"] for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    final = events[-1]["response"]
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert final["output"] == [events[-2]["item"]]
    assert final["output"][0]["content"][0]["text"] == said
    assert final["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_a_forced_call_has_an_object_for_arguments_whole_and_streamed(case: EngineCase, choice: Any) -> None:
    request = chat({"tools": [WEATHER], "tool_choice": choice, "max_tokens": 150})
    call = (await case.engine.complete(request))["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["name"] == "weather"
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    pieces = await streamed(case, request)
    calls = [c for p in pieces for o in p["choices"] for c in o["delta"].get("tool_calls") or () if c["index"] == 0]
    assert calls[0]["function"]["name"] == "weather"
    assert isinstance(json.loads("".join(c["function"].get("arguments") or "" for c in calls)), dict)


async def test_a_forced_call_in_a_response_agrees_with_its_events(case: EngineCase) -> None:
    tool = {"type": "function", **FUNCTION}
    events = await streamed(case, response({"tools": [tool], "tool_choice": "required", "max_output_tokens": 150}))
    final = events[-1]["response"]["output"][0]
    done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert final["type"] == "function_call"
    assert final["arguments"] == done["arguments"]
    assert isinstance(json.loads(final["arguments"]), dict)


async def test_tools_are_left_alone_where_the_caller_says_none(case: EngineCase) -> None:
    answer = await case.engine.complete(chat({"tools": [WEATHER], "tool_choice": "none", "max_tokens": 4}))
    assert "tool_calls" not in answer["choices"][0]["message"]


async def test_a_json_schema_is_kept_without_optional_white_space(case: EngineCase) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "review", "schema": SCHEMA, "strict": True}}
    text = text_of(await case.engine.complete(chat({"response_format": form, "max_tokens": 80})))
    value = json.loads(text)
    assert value["label"] in ("good", "bad")
    assert "\n" not in text
    assert "  " not in text.replace(json.dumps(value["note"]), "")


async def test_a_json_schema_is_kept_in_a_response(case: EngineCase) -> None:
    form = {"format": {"type": "json_schema", "name": "review", "schema": SCHEMA, "strict": True}}
    answer = await case.engine.complete(response({"text": form, "max_output_tokens": 80}))
    assert json.loads(answer["output"][0]["content"][0]["text"])["label"] in ("good", "bad")


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ({"choice": ["red", "blue"]}, "red|blue"),
        ({"regex": "[a-c]{3}-[0-9]"}, "[a-c]{3}-[0-9]"),
        ({"grammar": 'root ::= "yes" | "no"'}, "yes|no"),
        ({"json": SCHEMA}, r"\{.*\}"),
    ],
)
async def test_structured_outputs_keep_each_kind_of_rule(case: EngineCase, rule: JsonObject, pattern: str) -> None:
    answer = await case.engine.complete(chat({"structured_outputs": rule, "max_tokens": 80}))
    assert re.fullmatch(pattern, text_of(answer))


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (chat({"messages": [{"role": "wizard", "content": "x"}]}), "messages[0].role"),
        (chat({"messages": []}), "messages"),
        (chat({"max_tokens": 0}), "max_tokens"),
        (completion({}), "prompt"),
        (response({"previous_response_id": "resp_1"}), "previous_response_id"),
        (response({"store": True}), "store"),
    ],
)
async def test_a_wrong_request_is_refused_with_the_field_that_is_wrong(
    case: EngineCase, request_: EngineRequest, param: str
) -> None:
    with pytest.raises(EngineRejected) as whole:
        await case.engine.complete(request_)
    with pytest.raises(EngineRejected) as stream:
        await streamed(case, request_)
    for refusal in (whole.value, stream.value):
        assert (refusal.status, refusal.type, refusal.param) == (400, "invalid_request_error", param)


@pytest.mark.parametrize("endpoint", list(Endpoint))
async def test_a_prompt_longer_than_the_context_is_refused_by_its_code(case: EngineCase, endpoint: Endpoint) -> None:
    words = "word " * (case.max_model_len + 50)
    bodies: dict[Endpoint, JsonObject] = {
        Endpoint.CHAT: {"messages": [{"role": "user", "content": words}]},
        Endpoint.COMPLETIONS: {"prompt": words},
        Endpoint.RESPONSES: {"input": words},
    }
    with pytest.raises(EngineRejected) as refusal:
        await case.engine.complete(EngineRequest(endpoint, bodies[endpoint], "long"))
    assert refusal.value.code == "context_length_exceeded"
    assert refusal.value.status == 400


async def test_a_request_is_never_changed(case: EngineCase) -> None:
    request = chat({"tools": [WEATHER], "tool_choice": "auto", "max_tokens": 4, "stream_options": None})
    before = json.dumps(request.body)
    await case.engine.complete(request)
    await streamed(case, request)
    assert json.dumps(request.body) == before


async def test_a_started_engine_is_healthy_and_its_metrics_are_text(case: EngineCase) -> None:
    await case.engine.check_health()
    assert isinstance(case.engine.metrics_text().decode(), str)
