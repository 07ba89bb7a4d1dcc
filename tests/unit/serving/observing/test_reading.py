"""What is read of requests and answers."""

from typing import Any

import pytest

from serving.engine.protocol import Endpoint
from serving.observing.reading import CallPieces, asked_form, asked_text, end_of, form_of, made_calls, offered_tools

CHAT, COMPLETIONS, RESPONSES = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("endpoint", "body", "text"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]}, "one"),
        (CHAT, {"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}, "two"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]}, "a"),
        (CHAT, {"messages": [{"role": "user", "content": [IMAGE]}]}, ""),
        (CHAT, {"messages": [{"role": "system", "content": "be kind"}]}, ""),
        (CHAT, {"messages": [{"role": "user", "content": 7}]}, ""),
        (CHAT, {"messages": [{"role": "user", "content": ["a", None]}]}, ""),
        (CHAT, {}, ""),
        (COMPLETIONS, {"prompt": "once"}, "once"),
        (COMPLETIONS, {"prompt": ["once", "twice"]}, "once"),
        (COMPLETIONS, {"prompt": [1, 2, 3]}, ""),
        (RESPONSES, {"input": "hello"}, "hello"),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]}, "a"),
        (RESPONSES, {"input": [{"type": "function_call_output", "output": "x"}]}, ""),
    ],
)
def test_the_prompt_is_the_last_thing_that_the_user_said(endpoint: Endpoint, body: dict[str, Any], text: str) -> None:
    assert asked_text(endpoint, body) == text


def test_the_calls_of_a_whole_answer_are_those_of_its_first_choice() -> None:
    call = {"function": {"name": "look_up", "arguments": '{"q": 1}'}}
    answer = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}, {"message": {}}]}
    assert made_calls(CHAT, answer) == [("look_up", '{"q": 1}')]
    assert end_of(CHAT, answer) == "tool_calls"
    assert made_calls(COMPLETIONS, {"choices": [{"text": "once", "finish_reason": "stop"}]}) == []


@pytest.mark.parametrize(
    ("response", "calls", "end"),
    [
        ({"status": "completed", "output": [{"type": "message"}]}, [], "stop"),
        ({"status": "incomplete", "output": []}, [], "length"),
        (
            {"status": "completed", "output": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
            [("f", "{}")],
            "tool_calls",
        ),
    ],
)
def test_a_response_is_read_as_the_chat_that_it_stands_for(response: dict[str, Any], calls: Any, end: str) -> None:
    assert (made_calls(RESPONSES, response), end_of(RESPONSES, response)) == (calls, end)


def test_streamed_calls_are_put_together_by_their_places() -> None:
    pieces = CallPieces()
    pieces.add([{"index": 1, "function": {"name": "second", "arguments": "{"}}])
    pieces.add([{"index": 0, "function": {"name": "first"}}, {"index": 1, "function": {"arguments": "}"}}, None])
    assert pieces.calls() == [("first", ""), ("second", "{}")]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([{"function": {"name": "f", "arguments": {"q": 1}}}], [("f", '{"q": 1}')]),
        ([{"index": None, "function": {"name": "f"}}, {"index": 1, "function": {"name": "g"}}], [("f", ""), ("g", "")]),
        ([{"index": "x", "function": "nonsense"}, {"function": {"name": 7, "arguments": 7}}], []),
        (7, []),
    ],
)
def test_streamed_calls_of_an_engine_with_a_form_of_its_own_fail_nothing(pieces: Any, calls: Any) -> None:
    found = CallPieces()
    found.add(pieces)
    found.add([{"function": {}}])
    assert found.calls() == calls


def test_arguments_that_are_no_text_become_one() -> None:
    call = {"function": {"name": "look_up", "arguments": {"q": 1}}}
    assert made_calls(CHAT, {"choices": [{"message": {"tool_calls": [call]}}]}) == [("look_up", '{"q": 1}')]


def test_tools_are_read_in_the_form_of_either_api() -> None:
    schema = {"type": "object"}
    tools = [
        {"type": "function", "function": {"name": "chat", "parameters": schema}},
        {"type": "function", "name": "responses", "parameters": None},
        {"type": "file_search", "vector_store_ids": []},
        "nonsense",
    ]
    assert list(offered_tools(tools)) == [("chat", schema), ("responses", None)]
    assert list(offered_tools(None)) == []


@pytest.mark.parametrize(
    ("endpoint", "body", "form"),
    [
        (CHAT, {"response_format": {"type": "json_object"}}, ("json_schema", None)),
        (
            CHAT,
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}},
            ("json_schema", {"type": "array"}),
        ),
        (
            RESPONSES,
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "array"}}}},
            ("json_schema", {"type": "array"}),
        ),
        (RESPONSES, {"text": {"format": {"type": "text"}}}, None),
        (CHAT, {}, None),
        (RESPONSES, {"text": "nonsense"}, None),
    ],
)
def test_the_form_that_a_caller_asks_for_is_known(endpoint: Endpoint, body: dict[str, Any], form: Any) -> None:
    assert asked_form(form_of(endpoint, body)) == form
