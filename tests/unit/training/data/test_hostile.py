"""Whatever stands in a file, a reader ends, and says what is wrong in the one way that callers know."""

import json
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.training.data.rows import WEATHER, call, calling, preference, result, tooled, turn, user
from training.data.chat import read_chat
from training.data.check import KINDS, check_file
from training.data.findings import CheckReport
from training.data.preferences import read_preferences
from training.errors import DataInvalid

_SETTINGS = settings(
    max_examples=70, deadline=2_000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_KEYS = st.sampled_from(
    [
        *(
            "messages",
            "role",
            "content",
            "weight",
            "tools",
            "tool_calls",
            "tool_call_id",
            "function",
            "name",
            "id",
            "type",
        ),
        *(
            "arguments",
            "parameters",
            "parallel_tool_calls",
            "input",
            "preferred_output",
            "non_preferred_output",
            "text",
        ),
        *("$ref", "$defs", "properties", "anyOf", "pattern", "patternProperties", "additionalProperties", "items"),
    ]
)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)
_SEEDS = (
    turn("Question?", "Answer."),
    tooled(user("Oslo?"), calling(), result(), {"role": "assistant", "content": "Fine."}),
    preference(),
)


def _all(path: Path) -> list[CheckReport]:
    """Everything that reads a file; only DataInvalid may leave the readers, and nothing the checks."""
    for read in (read_chat, read_preferences):
        with suppress(DataInvalid):
            read(path)
    return [check_file(path, kind=kind, heldout=path) for kind in KINDS]


@_SETTINGS
@given(data=st.binary(max_size=400))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    assert all(report.refused() for report in _all(path))


@_SETTINGS
@given(rows=st.lists(_JSON, max_size=4))
def test_any_json(tmp_path: Path, rows: list[Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for report in _all(path):
        assert all(finding.message for finding in report.findings)


@_SETTINGS
@given(seed=st.sampled_from(_SEEDS), data=st.data())
def test_a_good_row_with_one_thing_changed(tmp_path: Path, seed: Any, data: st.DataObject) -> None:
    row = json.loads(json.dumps(seed))
    places = list(_places(row))
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(_JSON)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    for report in _all(path):
        assert all(finding.line in (1, None) for finding in report.findings)


@_SETTINGS
@given(seed=st.sampled_from(_SEEDS), start=st.integers(0, 300), end=st.integers(0, 300), put=st.binary(max_size=4))
def test_a_good_line_that_was_damaged(tmp_path: Path, seed: Any, start: int, end: int, put: bytes) -> None:
    line = json.dumps(seed).encode()
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line[:start] + put + line[end:])
    _all(path)


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def _schema(**parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {**WEATHER["function"], "parameters": parameters}}


_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SLOW = {
    "an expression that backtracks": (_schema(properties={"city": {"pattern": "^(a+)+$"}}), {"city": "a" * 60 + "!"}),
    "names by such an expression": (
        _schema(patternProperties={"^(a+)+$": {}}, additionalProperties=False),
        {"a" * 60 + "!": 1},
    ),
    "names that are not evaluated": (
        _schema(patternProperties={"^(a+)+$": {}}, unevaluatedProperties=False),
        {"a" * 60 + "!": 1},
    ),
    "a reference to itself": (_schema(**{"$ref": "#"}), {}),
    "branches without end": (
        _schema(
            **{
                "$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}}] * 2}},
                "properties": {"x": {"$ref": "#/$defs/a"}},
            }
        ),
        {"x": json.loads("[" * 50 + "]" * 50)},
    ),
    "an expression in a schema that names its draft": (
        _schema(properties={"city": {"$schema": _DRAFT, "pattern": "^(a+)+$"}}),
        {"city": "a" * 60 + "!"},
    ),
    "a reference to a whole schema that names its draft": (
        _schema(**{"$schema": _DRAFT, "properties": {"city": {"$ref": "#"}}, "pattern": "^(a+)+$"}),
        {"city": "a" * 60 + "!"},
    ),
    "many like items": (_schema(properties={"x": {"uniqueItems": True}}), {"x": [{"a": n} for n in range(5_000)]}),
}


@pytest.mark.parametrize(("tool", "arguments"), _SLOW.values(), ids=_SLOW.keys())
def test_a_tool_schema_cannot_make_a_reader_slow(tmp_path: Path, tool: Any, arguments: Any) -> None:
    path = tmp_path / "rows.jsonl"
    row = tooled(user(), calling(call(arguments=json.dumps(arguments))), tools=[tool])
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    start = time.perf_counter()
    _all(path)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "answer",
    [
        "$" + "1," * 30_000,
        "1." * 30_000,
        "+4" + " 9" * 30_000,
        "a@" + "b." * 30_000,
        "http://" + "x" * 90_000,
        "may " * 20_000,
    ],
)
def test_no_answer_makes_the_search_for_facts_slow(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(turn("continue " * 9_000, answer)) + "\n", encoding="utf-8")
    start = time.perf_counter()
    check_file(path, kind="chat")
    assert time.perf_counter() - start < 10


def test_a_long_line_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        for _ in range(48):
            file.write(b"x" * 1024**2)
    tracemalloc.start()
    try:
        (found,) = check_file(path, kind="chat").findings
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.code, found.line) == ("line_too_long", 1)
    assert peak < 24 * 1024**2


def test_time_grows_with_the_rows_and_not_with_their_square(tmp_path: Path) -> None:
    """The worst case for comparing rows with each other: all alike and none the same."""
    path = tmp_path / "rows.jsonl"
    rows = (
        turn(f"Where is the parcel with the number {number}, please?", f"answer {number}") for number in range(4_000)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    start = time.perf_counter()
    report = check_file(path, kind="chat")
    assert report.rows == 4_000
    assert time.perf_counter() - start < 60


def test_the_rows_that_these_tests_change_are_good(tmp_path: Path) -> None:
    for number, seed in enumerate(_SEEDS):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(seed), encoding="utf-8")
        assert check_file(path, kind=KINDS[number // 2]).refused() == ()


def test_a_row_of_many_keys_is_refused_in_time_and_in_few_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    keys = ", ".join(f'"{number}": 0' for number in range(200_000))
    path.write_text(
        f'{{{keys}, "199999": 0}}\n' + json.dumps(tooled(user(), calling(call(name="n" * 64, identity="i" * 90_000))))
    )
    start = time.perf_counter()
    report = check_file(path, kind="chat")
    assert [one.code for one in report.findings] == ["duplicate_key", "unknown_tool"]
    assert all(len(one.message) <= 600 for one in report.findings)
    assert time.perf_counter() - start < 10
