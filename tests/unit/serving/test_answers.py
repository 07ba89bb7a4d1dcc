"""Which texts of an answer are looked at."""

from typing import Any

import pytest

from serving.answers import ChoiceEvents, ResponseEvents, finished_texts
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
