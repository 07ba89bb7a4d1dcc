"""The split of BANKING77: every question once, on one side, whatever the order of the file."""

import json
from pathlib import Path

import pytest

from examples.banking77.rows import in_words, main, read_questions, split
from training.data.chat import read_chat
from training.tuning.recipe import SftRecipe

HEADER = "text,category\n"


def _csv(folder: Path, lines: list[str]) -> Path:
    path = folder / "train.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def _questions(count: int) -> list[str]:
    return [f"question {number} of {intent}?,{intent}" for intent in ("refund", "top_up") for number in range(count)]


def test_a_question_that_is_asked_twice_is_kept_where_it_stands_first(tmp_path: Path) -> None:
    path = _csv(tmp_path, ['"Where is it,\nplease?",arrival', "where is it  please,other", "What now?,arrival"])
    assert read_questions(path) == [("Where is it, please?", "arrival"), ("What now?", "arrival")]


def test_a_tenth_of_every_intent_is_for_development_in_any_order_of_the_file(tmp_path: Path) -> None:
    lines = _questions(20)
    train, development = split(read_questions(_csv(tmp_path, lines)))
    assert (len(train), len(development)) == (36, 4)
    assert {intent for _, intent in development} == {"refund", "top_up"}
    assert not set(train) & set(development)
    again = split(read_questions(_csv(tmp_path, lines[::-1])))[1]
    assert set(again) == set(development)


@pytest.mark.parametrize(
    ("intent", "answer"),
    [
        ("card_arrival", "card arrival"),
        ("Refund_not_showing_up", "refund not showing up"),
        ("reverted_card_payment?", "reverted card payment"),
    ],
)
def test_an_intent_is_answered_in_words(intent: str, answer: str) -> None:
    assert in_words(intent) == answer


def test_the_rows_are_what_the_recipe_trains_on(tmp_path: Path) -> None:
    assert main([str(_csv(tmp_path, _questions(10))), str(tmp_path / "data")]) == 0
    rows = read_chat(tmp_path / "data" / "train.jsonl").rows
    assert len(rows) == 18
    assert [message.role for message in rows[0].messages] == ["system", "user", "assistant"]
    assert {row.messages[-1].content for row in rows} == {"refund", "top up"}
    assert json.loads((tmp_path / "data" / "development.jsonl").read_text().splitlines()[0])["messages"][-1]
    recipe = SftRecipe.load(Path("examples/banking77/recipe.yaml"))
    assert recipe.heldout is not None
    assert recipe.keep == "last"
    assert {recipe.train.name, recipe.heldout.name} == {path.name for path in (tmp_path / "data").iterdir()}
