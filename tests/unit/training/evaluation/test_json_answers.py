"""JSON answers: validity, schemas, fields."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.json_text import canonical, parse_json
from tests.suite_factory import ask, make_suite
from training.errors import SuiteInvalid
from training.evaluation.json_values import MISSING, at, join_pointer
from training.evaluation.scoring import score
from training.evaluation.types import Answer

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "array"}},
    "required": ["a"],
    "additionalProperties": False,
}
WANTED = {"a": 1, "b": [1, 2]}
Json = dict[str, Any]
_SLOW = r"(?:(?:x+x+)+y|(?:x|xx)+\d)"
json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def _scores(tmp_path: Path, text: str, wanted: Any = WANTED, **settings: Any) -> dict[str, float]:
    suite = make_suite(tmp_path, [ask("?", wanted)], {"kind": "json", **settings})
    return dict(score(suite, suite.cases[0], Answer(text), 0).scores)


def test_an_equal_value_scores_everywhere(tmp_path: Path) -> None:
    assert _scores(tmp_path, '{"b":[1.0,2], "a": 1e0}', json_schema=SCHEMA) == {
        "json_match": 1,
        "fields": 1,
        "field:/a": 1,
        "field:/b": 1,
        "schema_valid": 1,
        "json_valid": 1,
    }


def test_each_field_is_right_or_wrong_by_itself(tmp_path: Path) -> None:
    found = _scores(tmp_path, '{"a": true, "b": [1, 2]}', json_schema=SCHEMA)
    assert (found["field:/a"], found["field:/b"], found["fields"]) == (0, 1, 0.5)
    assert (found["schema_valid"], found["json_valid"], found["json_match"]) == (0, 1, 0)


def test_a_field_that_neither_has_is_right(tmp_path: Path) -> None:
    found = _scores(tmp_path, '{"a": 1}', {"a": 1}, fields=["/a", "/b/0"])
    assert found["fields"] == 1
    assert _scores(tmp_path / "2", '{"a": 1, "b": [9]}', {"a": 1}, fields=["/a", "/b/0"])["field:/b/0"] == 0


def test_a_field_that_neither_has_earns_no_share(tmp_path: Path) -> None:
    assert _scores(tmp_path, "{}", {"a": 1}, fields=["/a", "/b", "/c"])["fields"] == 0
    assert _scores(tmp_path / "2", '{"b": 1}', {"a": 1}, fields=["/a", "/b", "/c"])["fields"] == 0
    assert _scores(tmp_path / "3", "{}", {}, fields=["/a"])["fields"] == 1


def test_fields_are_those_that_any_reference_has(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, [ask("1", {"a": 1}), ask("2", {"b/c": 2})], {"kind": "json"})
    assert suite.metrics == ("json_match", "fields", "field:/a", "field:/b~1c", "json_valid")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! {}",
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        "[" * 65 + "]" * 65,
        '{"a": 1} {"a": 1}',
        '```json\n{"a": 1}\n```',
        "{'a': 1}",
        "9" * 5000,
        '{"a": Infinity}',
        "1e999",
        '{"a": -1e999}',
    ],
)
def test_what_is_no_json_scores_nothing(tmp_path: Path, text: str) -> None:
    assert set(_scores(tmp_path, text, json_schema=SCHEMA).values()) == {0.0}


@pytest.mark.parametrize("text", ["null", "[]", '"text"', "3", '{"a": "\\ud800"}', "true"])
def test_a_value_of_another_kind_is_json_and_wrong(tmp_path: Path, text: str) -> None:
    found = _scores(tmp_path, text, json_schema=SCHEMA)
    assert (found["json_valid"], found["schema_valid"], found["json_match"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"multipleOf": 0.01}, "1" + "0" * 400 + ".5"),
        ({"multipleOf": 0.01}, "1" + "0" * 400),
        ({"pattern": _SLOW}, json.dumps("x" * 5000)),
        ({"patternProperties": {_SLOW: {}}}, json.dumps({"x" * 5000: 1})),
        ({"additionalProperties": False, "patternProperties": {_SLOW: {}}}, json.dumps({"x" * 5000: 1})),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", "pattern": _SLOW}, json.dumps("x" * 5000)),
    ],
)
def test_no_answer_makes_the_check_of_its_schema_fail_or_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: Json, answer: str
) -> None:
    monkeypatch.setattr("training.evaluation.scorers.schemas.REGEX_TIMEOUT_S", 0.05)
    # The first alternative is the reference's.
    found = _scores(tmp_path, answer, {"a": 1}, json_schema={"anyOf": [{"required": ["a"], "type": "object"}, schema]})
    assert found["schema_valid"] == 0


def test_expressions_of_a_schema_are_searched_for(tmp_path: Path) -> None:
    schema = {
        "properties": {"a": {"pattern": "^x"}},
        "patternProperties": {"^n_": {"type": "integer"}},
        "additionalProperties": {"type": "boolean"},
    }
    good: dict[str, object] = {"a": "xy", "n_1": 1, "rest": True}
    cases: list[tuple[dict[str, object], int]] = [({}, 1), ({"a": "y"}, 0), ({"n_2": "1"}, 0), ({"more": 1}, 0)]
    for number, (changes, valid) in enumerate(cases):
        answer = json.dumps(good | changes)
        assert _scores(tmp_path / str(number), answer, good, json_schema=schema)["schema_valid"] == valid


def test_a_fence_counts_only_where_it_is_allowed(tmp_path: Path) -> None:
    text = '```json\n{"a": 1, "b": [1, 2]}\n```\n'
    assert _scores(tmp_path, text)["json_valid"] == 0
    assert _scores(tmp_path / "2", text, allow_fence=True)["json_match"] == 1


def test_without_a_reference_only_validity_is_measured(tmp_path: Path) -> None:
    assert _scores(tmp_path, '{"a": 2}', None, compare=False, json_schema=SCHEMA) == {
        "schema_valid": 1,
        "json_valid": 1,
    }


@pytest.mark.parametrize(
    ("settings", "wanted", "words"),
    [
        ({"json_schema": {"type": "strin"}}, WANTED, "no JSON Schema"),
        ({"json_schema": {"$ref": "https://example.org/s.json"}}, WANTED, "refers to `https://example.org"),
        ({"json_schema": {"$ref": "#/$defs/none"}}, WANTED, "refers to `#/\\$defs/none`"),
        ({"json_schema": "nowhere.json"}, WANTED, "cannot read"),
        ({"json_schema": SCHEMA}, {"a": "text"}, r"cases.jsonl:1: .* breaks the schema: `\$.a`"),
        ({}, "no json", r"cases.jsonl:1: .* no JSON"),
        ({"fields": ["a"]}, WANTED, "starts with `/`"),
        ({"fields": ["/a", "/a"]}, WANTED, "stands twice"),
        ({"fields": ["/a"], "compare": False}, WANTED, "`compare` is false"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, settings: Any, wanted: Any, words: str) -> None:
    with pytest.raises(SuiteInvalid, match=words):
        make_suite(tmp_path, [ask("?", wanted)], {"kind": "json", **settings})


def test_a_schema_may_refer_to_itself(tmp_path: Path) -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    assert _scores(tmp_path, '{"a": "x"}', json_schema=schema)["schema_valid"] == 0


@given(json_text)
def test_a_canonical_text_is_the_value_itself(value: Any) -> None:
    text = json.dumps(value)
    assert canonical(parse_json(text)) == canonical(json.loads(canonical(value)))


@given(st.lists(st.text(), max_size=4))
def test_a_pointer_leads_to_what_it_was_made_for(tokens: list[str]) -> None:
    value: Any = "here"
    for token in reversed(tokens):
        value = {token: value}
    assert at(value, join_pointer(tokens)) == "here"


@pytest.mark.parametrize("pointer", ["/a/2", "/a/-1", "/a/x", "/b", "/a/0/0", "/a/²"])
def test_a_pointer_to_nothing_finds_nothing(pointer: str) -> None:
    assert at({"a": [1, 2]}, pointer) is MISSING
