"""The form of answers, and their tool calls."""

import json
from time import perf_counter
from typing import Any

import pytest

from monitoring.observed import Contract, ObservedAnswer, Tool, ToolCall
from monitoring.quality.form import form, tool_call
from monitoring.quality.options import FormOptions
from tests.observed_answers import observed

_SCHEMA = {"type": "object", "properties": {"label": {"enum": ["billing", "delivery"]}}, "required": ["label"]}
_JSON = Contract("json_schema", _SCHEMA)
_TOOLS = (Tool("track", {"type": "object", "properties": {"parcel": {"type": "integer"}}, "required": ["parcel"]}),)


def _form(answer: ObservedAnswer, options: FormOptions | None = None) -> dict[str, float]:
    return {check.name: check.badness for check in form(answer, options or FormOptions())}


@pytest.mark.parametrize(
    ("text", "changes", "found"),
    [
        ('{"label": "billing"}', {}, {"parse": 0, "schema": 0}),
        ('{"label": "weather"}', {}, {"parse": 0, "schema": 1}),
        ('{"label": "billing"', {}, {"parse": 1}),
        ('{"label": "billing", "label": "delivery"}', {}, {"parse": 1}),
        ("NaN", {}, {"parse": 1}),
        ('{"label": "billing"', {"finish_reason": "length"}, {}),
        ("", {}, {}),
        ('{"label": "billing"}', {"contract_violation": "mismatch"}, {"parse": 0, "schema": 1}),
        ("anything", {"contract": Contract("json_schema")}, {"parse": 1}),
        ("[1]", {"contract": Contract("json_schema")}, {"parse": 0}),
        ("A", {"contract": Contract("choice")}, {"schema": 0}),
        ("C", {"contract": Contract("choice"), "contract_violation": "mismatch"}, {"schema": 1}),
        ("C", {"contract": Contract("regex"), "contract_violation": "truncated", "finish_reason": "length"}, {}),
        ("free text", {"contract": None}, {}),
        ('{"label": 3}', {"tool_calls": (ToolCall("track", "{}"),)}, {}),
    ],
)
def test_the_form_of_an_answer(text: str, changes: dict[str, Any], found: dict[str, float]) -> None:
    assert _form(observed(text, **({"contract": _JSON} | changes))) == found


def test_json_can_be_expected_without_a_contract() -> None:
    assert _form(observed("no"), FormOptions(expects_json=True)) == {"parse": 1}
    assert _form(observed("{}"), FormOptions(expects_json=True)) == {"parse": 0}


@pytest.mark.parametrize(("allowed", "badness"), [(True, 0), (False, 1)])
def test_a_fence_is_a_mistake_unless_it_is_allowed(allowed: bool, badness: float) -> None:  # noqa: FBT001
    answer = observed('```json\n{"a": 1}\n```\n', contract=Contract("json_schema"))
    assert _form(answer, FormOptions(allow_fence=allowed)) == {"parse": badness}


def test_what_is_too_much_has_no_verdict() -> None:
    small = FormOptions(most_characters=10, most_schema=10)
    assert _form(observed('{"label": "billing"}', contract=_JSON), small) == {}
    assert _form(observed("{}", contract=_JSON), small) == {"parse": 0}


def test_a_schema_that_cannot_be_checked_gives_no_verdict() -> None:
    contract = Contract("json_schema", {"type": "text"})
    assert _form(observed("{}", contract=contract)) == {"parse": 0}
    assert _form(observed("{}", contract=Contract("json_schema", {"not json": {1, 2}}))) == {"parse": 0}


def test_details_name_the_keyword_and_quote_nothing() -> None:
    (_, schema) = form(observed('{"label": "secret"}', contract=_JSON), FormOptions())
    assert schema.detail == "breaks `enum`"


@pytest.mark.parametrize(
    ("calls", "badness"),
    [
        ([("track", '{"parcel": 7}')], 0),
        ([("track", '{"parcel": "seven"}')], 1),
        ([("track", "{}")], 1),
        ([("track", '{"parcel": 7')], 1),
        ([("track", '"blue"')], 1),
        ([("track", "")], 1),
        ([("trace", '{"parcel": 7}')], 1),
        ([("track", '{"parcel": 7}'), ("track", "{}")], 1),
    ],
)
def test_a_call_is_bad_that_cannot_be_carried_out(calls: list[tuple[str, str]], badness: float) -> None:
    answer = observed("", tool_calls=tuple(ToolCall(*call) for call in calls), tools=_TOOLS)
    check = tool_call(answer, FormOptions())
    assert check is not None
    assert check.badness == badness


def test_a_tool_without_parameters_takes_any_object() -> None:
    answer = observed("", tool_calls=(ToolCall("now", '{"a": 1}'),), tools=(Tool("now"),))
    check = tool_call(answer, FormOptions())
    assert check is not None
    assert check.badness == 0


def test_an_answer_without_calls_has_no_verdict_on_them() -> None:
    assert tool_call(observed(tools=_TOOLS), FormOptions()) is None


def test_many_calls_share_one_limit_of_time() -> None:
    slow = {"properties": {"a": {"pattern": r"(?:(?:x+x+)+y|(?:x|xx)+\d)"}}}
    call = ToolCall("slow", json.dumps({"a": "x" * 5000}))
    began = perf_counter()
    check = tool_call(observed("", tool_calls=(call,) * 500, tools=(Tool("slow", slow),)), FormOptions(seconds=0.1))
    assert perf_counter() - began < 5
    assert check is not None
    assert check.badness == 0
