"""JSON mode's rows: any answer becomes facts of the schema, and the split follows the questions alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from examples.json_mode.rows import MOST_FACTS, Row, facts_of, main, name_of, read_rows, split
from training.data.chat import read_chat
from training.evaluation.suite import load_suite

EXAMPLE = Path("examples/json_mode")
SCHEMA = json.loads((EXAMPLE / "answer.schema.json").read_text(encoding="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=120),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=50), inner, max_size=4),
    max_leaves=12,
)


def _set(folder: Path, *rows: tuple[str, Any]) -> Path:
    path = folder / "train.jsonl"
    lines = [
        {"system": "JSON Mode", "messages": [{"content": asked}, {"content": json.dumps(answer)}]}
        for asked, answer in rows
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@given(JSON)
def test_whatever_an_answer_holds_its_facts_are_valid_or_there_are_none(answer: Any) -> None:
    facts = facts_of(answer)
    assert not facts or Draft202012Validator(SCHEMA).is_valid({"facts": list(facts)})


def test_values_are_named_by_the_last_two_names_on_their_way() -> None:
    answer = {"answer": {"city": "Bern", "area": {"landArea": {"km2": 50, "known": True}}, "gone": None}}
    assert facts_of(answer) == (
        {"name": "city", "value": "Bern"},
        {"name": "land area km 2", "value": "50"},
        {"name": "land area known", "value": "true"},
    )


def test_a_value_that_is_the_whole_answer_keeps_its_name() -> None:
    assert facts_of({"answer": "Bern"}) == ({"name": "answer", "value": "Bern"},)


def test_long_values_repetitions_and_all_after_the_fifth_are_left_out() -> None:
    answer = {"long": "x" * 200, "list": ["a", "a", *map(str, range(9))]}
    facts = facts_of(answer)
    assert len(facts) == MOST_FACTS
    assert [fact["value"] for fact in facts] == ["a", "0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("name", "words"), [("maxSpeed", "max speed"), ("full_name", "full name"), ("ISBNCode", "isbn code"), ("--", "")]
)
def test_a_name_is_read_in_words(name: str, words: str) -> None:
    assert name_of([name]) == words


def test_a_question_that_is_asked_twice_or_has_no_facts_is_no_second_row(tmp_path: Path) -> None:
    path = _set(tmp_path, ("Which city?", {"city": "Bern"}), ("which  city", {"city": "Basel"}), ("Why?", {}))
    assert read_rows(path) == [Row("Which city?", ({"name": "city", "value": "Bern"},))]


def test_a_fifth_is_held_out_whatever_the_order() -> None:
    rows = [Row(f"question {number}?", ({"name": "a", "value": "b"},)) for number in range(20)]
    train, heldout = split(rows)
    assert (len(train), len(heldout)) == (16, 4)
    assert {row.question for row in split(rows[::-1])[1]} == {row.question for row in heldout}


@pytest.mark.parametrize("name", ["suite", "structured"])
def test_held_out_rows_are_cases_whose_references_fit_the_schema(tmp_path: Path, name: str) -> None:
    path = _set(tmp_path, *((f"What is number {number}?", {"number": number}) for number in range(10)))
    assert main([str(path), str(tmp_path / "data")]) == 0
    assert len(read_chat(tmp_path / "data" / "train.jsonl").rows) == 8
    for file in (f"{name}.yaml", "answer.schema.json"):
        (tmp_path / file).write_bytes((EXAMPLE / file).read_bytes())
    suite = load_suite(tmp_path / f"{name}.yaml")
    assert suite.primary == "schema_valid"
    assert ("response_format" in suite.parameters) == (name == "structured")
    assert all(Draft202012Validator(SCHEMA).is_valid(json.loads(case.expected or "")) for case in suite.cases)
