"""Which texts of an answer are looked at."""

from typing import Any

import pytest

from serving.answers import ChoiceEvents, ResponseEvents, TokenCounts, count_tokens, finish_reasons, finished_texts
from serving.engine.protocol import Endpoint
from serving.tasks import Resolution

RESOLUTION = Resolution("base", "base", None, None, None)
CALL = {"type": "function_call", "name": "look_up", "arguments": "{}", "call_id": "1"}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Paris."}]}


@pytest.mark.parametrize(
    ("output", "texts"),
    [
        ([CALL], []),
        ([{"type": "reasoning", "summary": []}, CALL, CALL], []),
        ([MESSAGE, CALL], ["Paris."]),
        ([{"type": "file_search_call", "queries": []}], [""]),
        ([], [""]),
    ],
)
def test_a_response_that_only_calls_tools_has_no_text(output: list[Any], texts: list[str]) -> None:
    response = {"output": output, "status": "completed", "metadata": {}}
    assert [text.text for text in finished_texts(Endpoint.RESPONSES, response)] == texts

    events = ResponseEvents(RESOLUTION, keep_text=True)
    events.accept({"type": "response.completed", "response": response})
    assert [text.text for text in events.finished] == texts


def test_a_streamed_choice_that_calls_a_tool_has_no_text_whatever_its_finish_reason() -> None:
    events = ChoiceEvents(RESOLUTION, include_usage=False, keep_text=True)
    deltas: list[tuple[int, dict[str, Any], str | None]] = [
        (0, {"tool_calls": [{"index": 0, "function": {"name": "look_up"}}]}, None),
        (1, {"content": "Paris."}, None),
        (0, {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, None),
        (0, {}, "stop"),
        (1, {}, "stop"),
    ]
    for index, delta, reason in deltas:
        events.accept({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]})
    assert [(text.text, text.finish_reason) for text in events.finished] == [("Paris.", "stop")]


def test_why_texts_ended_is_told_the_same_way_for_whole_and_streamed_answers() -> None:
    choices: list[dict[str, Any]] = [{"finish_reason": "stop"}, {"finish_reason": "length"}, {"finish_reason": None}]
    assert list(finish_reasons(Endpoint.CHAT, {"choices": choices})) == ["stop", "length"]
    events = ChoiceEvents(RESOLUTION, include_usage=False, keep_text=False)
    for choice in choices:
        events.accept({"choices": [{"index": 0, "delta": {}} | choice]})
    assert events.finish_reasons == ["stop", "length"]


def test_why_a_response_ended_is_its_status() -> None:
    response: dict[str, Any] = {"status": "incomplete", "output": []}
    assert list(finish_reasons(Endpoint.RESPONSES, response)) == ["incomplete"]
    events = ResponseEvents(RESOLUTION, keep_text=False)
    events.accept({"type": "response.created", "response": {"status": "in_progress"}})
    events.accept({"type": "response.incomplete", "response": dict(response)})
    assert events.finish_reasons == ["incomplete"]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3}, (7, 3)),
        ({"input_tokens": 7, "output_tokens": 3}, (7, 3)),
        ({"prompt_tokens": -1, "completion_tokens": "3"}, (0, 0)),
        ({"prompt_tokens": 7.5, "completion_tokens": None}, (0, 0)),
        ([7, 3], (0, 0)),
        (None, (0, 0)),
    ],
)
def test_what_an_engine_counts_is_taken_where_it_is_a_count(usage: Any, counts: tuple[int, int]) -> None:
    assert count_tokens(usage) == TokenCounts(*counts)
