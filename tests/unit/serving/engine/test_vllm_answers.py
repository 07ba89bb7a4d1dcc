"""vLLM's answers made to fit OpenAI's schema."""

from typing import Any

import pytest

from serving.engine.protocol import Endpoint, EngineRequest, JsonObject
from serving.engine.vllm_answers import ResponseEvents, normal_answer, normal_piece

CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "", "status": "completed"}


def chat_answer(**message: Any) -> JsonObject:
    return {
        "id": "x",
        "service_tier": None,
        "system_fingerprint": "vllm-0",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "prompt_tokens_details": None},
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "stop_reason": None,
                "token_ids": None,
                "logprobs": {"content": []},
                "message": {
                    "role": "assistant",
                    "refusal": None,
                    "annotations": None,
                    "function_call": None,
                    **message,
                },
            }
        ],
    }


def test_empty_extras_are_dropped_and_what_must_be_there_is() -> None:
    answer = normal_answer(EngineRequest(Endpoint.CHAT, {}, "r"), chat_answer(content="hi", tool_calls=[]))
    assert answer == {
        "id": "x",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "logprobs": {"content": [], "refusal": None},
                "message": {"role": "assistant", "content": "hi", "refusal": None},
            }
        ],
    }


def test_a_call_has_no_content() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = normal_answer(EngineRequest(Endpoint.CHAT, {}, "r"), chat_answer(content="", tool_calls=[call]))
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [call],
    }


def test_a_piece_loses_its_empty_extras() -> None:
    piece: JsonObject = {
        "id": "x",
        "prompt_text": None,
        "choices": [{"index": 0, "delta": {}, "token_ids": None, "logprobs": None}],
    }
    assert normal_piece(piece) == {"id": "x", "choices": [{"index": 0, "delta": {}, "logprobs": None}]}


def response(status: str, output: list[JsonObject]) -> JsonObject:
    return {"id": "resp", "status": status, "model": "m", "metadata": None, "user": None, "output": output}


def events_of(request: EngineRequest, *events: JsonObject) -> list[JsonObject]:
    normal = ResponseEvents(request)
    return [one for event in events for one in normal.normal(event)]


def test_a_call_cut_short_ends_its_arguments_and_is_incomplete_everywhere() -> None:
    request = EngineRequest(Endpoint.RESPONSES, {"tools": [{"type": "function", "name": "f"}]}, "r", "a@1")
    wrong = {"type": "message", "id": "msg", "status": "completed", "content": []}
    events = events_of(
        request,
        {"type": "response.created", "response": response("in_progress", [])},
        {"type": "response.output_item.added", "output_index": 0, "item": CALL | {"status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": dict(CALL)},
        {"type": "response.completed", "response": response("incomplete", [wrong])},
    )
    assert [event["type"] for event in events] == [
        "response.created",
        "response.output_item.added",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [event["sequence_number"] for event in events] == [0, 1, 2, 3, 4]
    assert events[3]["item"]["status"] == "incomplete"
    assert events[-1]["response"]["output"] == [events[3]["item"]]
    assert events[-1]["response"]["model"] == "a@1"


def test_the_end_of_arguments_is_not_told_twice_and_names_the_function() -> None:
    done = {"type": "response.function_call_arguments.done", "output_index": 0, "item_id": "fc_1", "arguments": "{}"}
    events = events_of(
        EngineRequest(Endpoint.RESPONSES, {}, "r"),
        {"type": "response.output_item.added", "output_index": 0, "item": dict(CALL)},
        done,
        {"type": "response.output_item.done", "output_index": 0, "item": dict(CALL)},
        {"type": "response.completed", "response": response("completed", [])},
    )
    assert [event["type"] for event in events].count("response.function_call_arguments.done") == 1
    assert events[1]["name"] == "f"


@pytest.mark.parametrize("given", [None, "auto", "required"])
def test_a_response_repeats_what_was_asked(given: str | None) -> None:
    body = {"tools": [{"type": "function", "name": "f"}], **({"tool_choice": given} if given else {})}
    answer = normal_answer(EngineRequest(Endpoint.RESPONSES, body, "r"), response("completed", []))
    assert answer["tool_choice"] == (given or "auto")
    assert answer["tools"] == [{"type": "function", "name": "f", "strict": None, "parameters": None}]
    assert answer["text"] == {"format": {"type": "text"}}
    assert answer["error"] is None
    assert "user" not in answer
