"""Tool calls."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.suite_factory import ask, case_of, make_suite
from training.errors import SuiteInvalid
from training.evaluation.scorers.tool_calls import ToolCalls
from training.evaluation.types import Answer

WEATHER = {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}
CLOCK = {"name": "clock", "arguments": {}}


def _made(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _scores(wanted: tuple[Any, ...], *made: Any) -> tuple[Any, ...]:
    found = ToolCalls().score(case_of(expected_tool_calls=wanted), Answer("", tool_calls=made))
    return found["tool_calls"].value, found["tool_names"].value, found["tool_f1"].value


def test_calls_match_in_any_order_and_arguments_as_json() -> None:
    made = (_made("clock", "{ }"), _made("weather", '{"days": 2.0, "city": "Oslo"}'))
    assert _scores((WEATHER, CLOCK), *made) == (1, 1, 1)


def test_a_wrong_argument_leaves_the_name_right() -> None:
    assert _scores((WEATHER,), _made("weather", '{"city": "Oslo", "days": 3}')) == (0, 1, 0)


def test_an_extra_call_is_wrong() -> None:
    right = _made("clock", "{}")
    assert _scores((CLOCK,), right, right) == (0, 0, pytest.approx(2 / 3))


def test_no_call_is_right_where_none_is_wanted() -> None:
    assert _scores(()) == (1, 1, 1)
    assert _scores((), _made("clock", "{}")) == (0, 0, 0)
    assert _scores((CLOCK,)) == (0, 0, 0)


@pytest.mark.parametrize(
    "hostile",
    [
        _made("clock", '"blue"'),
        _made("clock", "{"),
        _made("clock", None),
        _made("clock", {}),
        _made("clock", "[" * 100_000),
        {"function": None},
        {"function": {"arguments": "{}"}},
        {},
        "clock",
        None,
    ],
)
def test_a_call_that_is_none_matches_nothing(hostile: Any) -> None:
    assert _scores((CLOCK,), hostile)[0] == 0


def test_references_come_from_openai_rows_too(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    row = {
        "messages": [
            {"role": "user", "content": "What time is it?"},
            {"role": "assistant", "content": None, "tool_calls": [_made("clock", '{"zone": "UTC"}')]},
        ],
        "tools": [tool],
    }
    suite = make_suite(tmp_path, [row], {"kind": "tool_calls"})
    assert suite.cases[0].expected_tool_calls == ({"name": "clock", "arguments": {"zone": "UTC"}},)
    assert suite.cases[0].tools == (tool,)


def test_a_wanted_call_of_no_tool_is_refused(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "watch"}}
    with pytest.raises(SuiteInvalid, match=r"cases.jsonl:1: .* `clock`, which no tool is"):
        make_suite(tmp_path, [ask("?", tools=[tool], expected_tool_calls=[CLOCK])], {"kind": "tool_calls"})


def test_arguments_that_are_no_object_are_refused(tmp_path: Path) -> None:
    row = ask("?", expected_tool_calls=[{"name": "clock", "arguments": json.dumps([1])}])
    with pytest.raises(SuiteInvalid, match=r"cases.jsonl:1: the arguments of `clock` are no JSON object"):
        make_suite(tmp_path, [row], {"kind": "tool_calls"})
