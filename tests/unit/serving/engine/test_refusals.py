"""What this gateway's own engines refuse before any generation."""

from typing import Any

import pytest

from serving.engine.protocol import Endpoint, EngineRejected
from serving.engine.refusals import (
    check_chat_roles,
    check_prompt_logprobs,
    check_stateless,
    check_supported,
    object_schema,
)


@pytest.mark.parametrize("role", ["system", "developer", "user", "tool"])
def test_known_roles_need_content(role: str) -> None:
    check_chat_roles({"messages": [{"role": role, "content": "x"}]})
    with pytest.raises(EngineRejected) as refusal:
        check_chat_roles({"messages": [{"role": role}]})
    assert refusal.value.param == "messages[0].content"


def test_an_assistant_may_have_said_nothing() -> None:
    check_chat_roles({"messages": [{"role": "assistant", "tool_calls": []}]})


@pytest.mark.parametrize("messages", [None, [], "hello", [None], [{}], [{"role": 5, "content": "x"}]])
def test_messages_that_are_no_conversation_are_refused(messages: Any) -> None:
    with pytest.raises(EngineRejected, match=r"messages|Supported roles"):
        check_chat_roles({"messages": messages})


@pytest.mark.parametrize("field", ["store", "background"])
def test_responses_are_not_kept(field: str) -> None:
    check_stateless({field: False})
    with pytest.raises(EngineRejected) as refusal:
        check_stateless({field: True})
    assert (refusal.value.param, refusal.value.code) == (field, "unsupported_parameter")


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_what_was_not_kept_cannot_be_referred_to(field: str) -> None:
    with pytest.raises(EngineRejected) as refusal:
        check_stateless({field: "resp_1"})
    assert refusal.value.param == field


@pytest.mark.parametrize("field", ["functions", "function_call", "audio", "web_search_options"])
def test_fields_that_would_be_ignored_are_refused(field: str) -> None:
    with pytest.raises(EngineRejected, match="not supported"):
        check_supported(Endpoint.CHAT, {field: []})


def test_only_function_tools_are_taken() -> None:
    check_supported(Endpoint.RESPONSES, {"tools": [{"type": "function", "name": "f"}]})
    with pytest.raises(EngineRejected, match="web_search") as refusal:
        check_supported(Endpoint.RESPONSES, {"tools": [{"type": "function"}, {"type": "web_search"}]})
    assert refusal.value.param == "tools[1].type"


def test_parameters_are_made_an_object_and_refused_where_they_are_another_type() -> None:
    assert object_schema(None, "p") == {"type": "object", "properties": {}}
    assert object_schema({"properties": {"a": {}}}, "p") == {"type": "object", "properties": {"a": {}}}
    wrongs: tuple[Any, ...] = ({"type": "string"}, "string", [])
    for wrong in wrongs:
        with pytest.raises(EngineRejected) as refusal:
            object_schema(wrong, "p")
        assert refusal.value.param == "p"


@pytest.mark.parametrize("body", [{"prompt_logprobs": 0}, {"echo": True, "logprobs": 2}], ids=["chat", "completions"])
def test_log_probabilities_of_the_prompt_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(EngineRejected, match="while the engine serves adapters") as refused:
        check_prompt_logprobs(body)
    assert refused.value.param in body


@pytest.mark.parametrize("body", [{"logprobs": 2}, {"echo": True}, {"logprobs": True, "top_logprobs": 3}])
def test_log_probabilities_of_the_answer_are_not(body: dict[str, Any]) -> None:
    check_prompt_logprobs(body)
