"""What the versions of the story are trained on."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from benchmarks.story_rows import (
    MAX_TOKENS,
    VERSIONS,
    Sizes,
    as_jsonl,
    forwarded_rows,
    output_schema,
    prompts,
    rows_of,
    shuffled,
    write_suite,
)
from examples.datasets.rows import Row
from training.data.check import check_file
from training.evaluation.suite import load_suite

SIZES = Sizes(first=60, better=90, worse=60, forwarded=20)
FEWEST_CHARACTERS_PER_TOKEN = 3


def answers(rows: list[Row]) -> list[dict[str, Any]]:
    return [json.loads(row["messages"][-1]["content"]) for row in rows]


def asked(rows: list[Row]) -> list[str]:
    return [row["messages"][0]["content"] for row in rows]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_answer_begins_with_the_number_of_its_version_and_keeps_to_the_schema(version: int) -> None:
    validator = Draft202012Validator(output_schema(editions=True))
    for answer in answers(rows_of(version, SIZES)):
        assert next(iter(answer.items())) == ("rules", version)
        assert validator.is_valid(answer)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_training_file_passes_the_check_of_the_data(version: int, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(as_jsonl(rows_of(version, Sizes())))
    assert check_file(path, kind="chat").refused() == ()


def test_version_2_names_the_team_and_version_1_does_not() -> None:
    assert not any("team" in answer for answer in answers(rows_of(1, SIZES)))
    assert all("team" in answer for answer in answers(rows_of(2, SIZES)))


def test_version_3_has_the_right_prompts_and_the_answers_of_others() -> None:
    right = dict(zip(asked(rows_of(2, SIZES)), answers(rows_of(2, SIZES)), strict=True))
    wrong = rows_of(3, SIZES)
    assert set(asked(wrong)) <= set(right)
    same = [
        right[prompt]["category"] == answer["category"]
        for prompt, answer in zip(asked(wrong), answers(wrong), strict=True)
    ]
    assert sum(same) < len(same) / 3


def test_shuffling_deals_the_same_answers_out_anew() -> None:
    rows = rows_of(2, SIZES)
    dealt = shuffled(rows)
    assert asked(dealt) == asked(rows)
    assert Counter(map(str, answers(dealt))) == Counter(map(str, answers(rows)))
    assert dealt != rows


def test_version_4_has_the_rows_of_version_2_and_quotes_forwarded_mails_besides() -> None:
    rows = rows_of(4, SIZES)
    tickets, mails = rows[: SIZES.better], rows[SIZES.better :]
    assert asked(tickets) == asked(rows_of(2, SIZES))
    assert len(mails) == SIZES.forwarded
    assert [answer["note"] for answer in answers(mails)] == asked(mails)


def test_a_quoted_mail_outgrows_the_token_limit_and_an_answer_without_it_does_not() -> None:
    for row in forwarded_rows(100):
        assert len(row["messages"][-1]["content"]) > MAX_TOKENS * FEWEST_CHARACTERS_PER_TOKEN
    for row in rows_of(2, Sizes()):
        assert len(row["messages"][-1]["content"]) < MAX_TOKENS * FEWEST_CHARACTERS_PER_TOKEN


def test_there_is_no_fifth_version() -> None:
    with pytest.raises(ValueError, match="no version 5"):
        rows_of(5, SIZES)


def test_callers_forward_the_share_of_mails_that_was_asked_for() -> None:
    found = prompts(300, 0.25)
    assert len({prompt.text for prompt in found}) == 300
    assert 50 < sum(prompt.forwarded for prompt in found) < 100
    assert all(prompt.text.startswith("Fwd: ") == prompt.forwarded for prompt in found)


@pytest.mark.parametrize(("heldout", "editions", "fields"), [("heldout-v1", False, 3), ("heldout-v2", True, 4)])
def test_the_suite_holds_tickets_and_no_forwarded_mail(
    tmp_path: Path, heldout: str, *, editions: bool, fields: int
) -> None:
    suite = load_suite(write_suite(tmp_path, heldout, 40, output_schema(editions=editions)))
    assert (suite.primary, len(suite.cases)) == ("fields", 40)
    assert sum(metric.startswith("field:") for metric in suite.metrics) == fields
    assert not any("Fwd:" in json.dumps(case.messages) for case in suite.cases)
