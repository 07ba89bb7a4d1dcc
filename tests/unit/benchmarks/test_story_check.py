"""The judge of the story finds what it is there to find."""

from typing import Any

import pytest

from benchmarks.load import Sample
from benchmarks.story_check import (
    Exchange,
    by_edition,
    by_team,
    count_until,
    describe,
    is_broken,
    rating,
    violations,
)
from benchmarks.story_rows import Prompt
from benchmarks.swap_check import VERSION_HEADER, Timeline

ONE, TWO = "triage@11111111", "triage@22222222"
HANDS = {ONE: "edition 1", TWO: "edition 2"}
TICKET = Prompt("Ledger is down", "outage")


def exchange(version: str, text: str, *, at: float = 1.0, said: Any = None, **changes: Any) -> Exchange:
    values: dict[str, Any] = {
        "tag": "0",
        "error": None,
        "status": 200,
        "started_at": at,
        "e2e_s": 0.5,
        "text": text,
        "fingerprint": version,
        "headers": {VERSION_HEADER: version},
    }
    return Exchange(Sample(**values | changes), "caller-1", TICKET, said)


def causes(*exchanges: Exchange) -> list[str]:
    line = Timeline()
    line.enter(0.0, {ONE})
    line.enter(10.0, {ONE, TWO})
    line.enter(20.0, {TWO})
    return [violation.cause for violation in violations(exchanges, HANDS, by_edition, line)]


def test_an_answer_in_the_hand_of_the_version_reported_is_good() -> None:
    assert causes(exchange(ONE, '{"rules": 1, "category": "bug"}')) == []


def test_an_answer_in_the_hand_of_another_version_is_found() -> None:
    assert causes(exchange(ONE, '{"rules": 2, "category": "bug"}')) == ["the answer is not of the version reported"]


def test_an_answer_without_any_hand_is_found() -> None:
    assert causes(exchange(ONE, "hello")) == ["the answer is not of the version reported"]


def test_a_version_that_nobody_knows_is_found() -> None:
    found = causes(exchange("triage@99999999", '{"rules": 1}'))
    assert found == ["the answer is not of the version reported", "a version that should not answer then"]


def test_header_and_fingerprint_must_agree() -> None:
    assert causes(exchange(ONE, '{"rules": 1}', fingerprint=TWO)) == ["header and fingerprint differ"]


def test_during_a_canary_both_versions_may_answer_and_afterwards_one() -> None:
    assert causes(exchange(ONE, '{"rules": 1}', at=15.0), exchange(TWO, '{"rules": 2}', at=15.0)) == []
    assert causes(exchange(ONE, '{"rules": 1}', at=21.0)) == ["a version that should not answer then"]
    assert causes(exchange(TWO, '{"rules": 2}', at=5.0)) == ["a version that should not answer then"]


def test_failures_are_counted_elsewhere_and_not_judged() -> None:
    failed = exchange("", "", error="status 503")
    assert causes(failed) == []
    assert describe([failed, exchange(ONE, "{}")])["failed"] == 1


def test_hands_are_told_from_answers_that_broke_off() -> None:
    assert by_edition('{"rules": 4, "category": "bug", "note": "Fwd') == "edition 4"
    assert by_team('{"category": "bug", "team": "engin') == "with a team"
    assert by_team('{"category": "bug"}') == "without a team"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"category": "outage", "team": "operations"}', "up"),
        ('{"category": "outage"}', "down"),
        ('{"category": "bug", "team": "engineering"}', "down"),
        ('{"category": "outage", "team": "operations", "note": "Fwd', "down"),
        ("[]", "down"),
    ],
)
def test_callers_want_whole_json_with_the_right_category_and_team(text: str, said: str) -> None:
    assert rating(text, "outage") == said


def test_an_answer_is_broken_where_it_is_not_whole() -> None:
    assert not is_broken(exchange(ONE, '{"rules": 1}'))
    assert is_broken(exchange(ONE, '{"rules": 1'))
    assert is_broken(exchange(ONE, "{}", error="the stream has no [DONE]"))


def test_requests_until_a_rollback_are_those_of_the_canary() -> None:
    met = [
        exchange(ONE, "{}", at=1.0),
        exchange(ONE, "{}", at=2.0),
        exchange(TWO, "{", at=3.0, said="down"),
        exchange(TWO, "{}", at=4.0, said="up"),
        exchange(TWO, "{}", at=5.5),
        exchange(ONE, "{}", at=6.0),
    ]
    assert count_until(met, TWO, 1.5, 5.0) == {
        "requests": 3,
        "candidate_requests": 2,
        "candidate_answers_broken": 1,
        "candidate_answers_judged_down": 1,
        "candidate_requests_in_all": 3,
    }


def test_traffic_is_described_by_version() -> None:
    found = describe([exchange(ONE, "{}", said="up"), exchange(ONE, "{", said="down"), exchange(TWO, "{}")])
    assert found["by_version"] == {ONE: 2, TWO: 1}
    assert found["not_whole_by_version"] == {ONE: 1}
    assert found["judged"] == {f"{ONE} down": 1, f"{ONE} up": 1}
    assert (found["requests"], found["callers"]) == (3, 1)
