"""What a task adds to a caller's request."""

from typing import Any

import pytest

from serving.config import TaskSettings
from serving.engine.protocol import Endpoint
from serving.shaping import shadow_body, shape_request

USER = {"role": "user", "content": "hi"}
TASK = TaskSettings(system_prompt="Be brief.", sampling={"max_tokens": 9, "temperature": 0, "top_p": 0.5})


def _shape(endpoint: Endpoint, body: dict[str, Any], task: TaskSettings | None = TASK) -> dict[str, Any]:
    return shape_request(endpoint, body, task, None, vllm=True)


def test_without_a_task_the_request_goes_through_untouched() -> None:
    body = {"messages": [USER], "some_new_field": {"x": 1}}
    assert _shape(Endpoint.CHAT, body, None) is body


def test_the_callers_own_body_is_never_changed() -> None:
    body = {"messages": [USER]}
    _shape(Endpoint.CHAT, body)
    assert body == {"messages": [USER]}


def test_fields_that_nobody_knows_pass() -> None:
    assert _shape(Endpoint.CHAT, {"messages": [USER], "new": [1]})["new"] == [1]


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        (Endpoint.CHAT, {"messages": [USER]}, "max_completion_tokens"),
        (Endpoint.COMPLETIONS, {"prompt": "x"}, "max_tokens"),
        (Endpoint.RESPONSES, {"input": "x"}, "max_output_tokens"),
    ],
)
def test_a_default_limit_takes_the_name_that_the_endpoint_has_for_it(
    endpoint: Endpoint, body: dict[str, Any], field: str
) -> None:
    shaped = _shape(endpoint, body)
    assert shaped[field] == 9
    assert shaped["temperature"] == 0


@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens"])
def test_what_the_caller_says_wins(given: str) -> None:
    shaped = _shape(Endpoint.CHAT, {"messages": [USER], given: 3, "temperature": 1.5, "top_p": None})
    assert {name: shaped[name] for name in shaped if name.startswith("max")} == {given: 3}
    assert (shaped["temperature"], shaped["top_p"]) == (1.5, 0.5)


def test_the_system_prompt_comes_first() -> None:
    shaped = _shape(Endpoint.CHAT, {"messages": [USER]})
    assert shaped["messages"] == [{"role": "system", "content": "Be brief."}, USER]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_callers_system_message_replaces_the_tasks(role: str) -> None:
    messages = [{"role": role, "content": "Be long."}, USER]
    assert _shape(Endpoint.CHAT, {"messages": messages})["messages"] == messages
    assert "instructions" not in _shape(Endpoint.RESPONSES, {"input": messages})


def test_responses_get_it_as_instructions_unless_they_bring_their_own() -> None:
    assert _shape(Endpoint.RESPONSES, {"input": "x"})["instructions"] == "Be brief."
    assert _shape(Endpoint.RESPONSES, {"input": [USER]})["instructions"] == "Be brief."
    assert _shape(Endpoint.RESPONSES, {"input": "x", "instructions": "Own."})["instructions"] == "Own."


def test_a_raw_completion_has_no_place_for_it() -> None:
    assert _shape(Endpoint.COMPLETIONS, {"prompt": "x"})["prompt"] == "x"


def test_a_shadow_copy_is_answered_whole() -> None:
    body = {"messages": [USER], "stream": True, "stream_options": {"include_usage": True}, "n": 2}
    assert shadow_body(body) == {"messages": [USER], "n": 2}
