"""Sampled answers on their way to a judge."""

import asyncio
from typing import Any

import pytest

from adapters.errors import CatalogUnavailable
from serving.observing.judged import MOST_WAITING, Judging, Sampled
from serving.settings.monitoring import SampledJudgeSettings

SETTINGS = SampledJudgeSettings(url="http://judge/v1", model="m", rubric="Be right.", timeout_s=0.05)
SAMPLED = Sampled("triage", "triage@11111111", "stable", 1.0, '{"messages": [], "context": [], "answer": "x"}')


class House:
    """A judge and a budget that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answer: dict[str, Any] = {"values": [0.75], "problem": ""}
        self.granted = 1
        self.orders: list[dict[str, Any]] = []
        self.judging = Judging(self.judge, self.spend, clock=lambda: self.now)

    async def judge(self, order: dict[str, Any]) -> dict[str, Any]:
        self.orders.append(order)
        return self.answer

    def spend(self, task: str, wanted: int, per_hour: int) -> int:
        return self.granted

    def ask(self) -> list[float]:
        self.judging.judge_one(SAMPLED, SETTINGS)
        return [verdict.value for verdict in self.judging.take()]


def test_a_verdict_is_had_for_a_place_in_the_budget() -> None:
    house = House()
    assert house.ask() == [0.75]
    assert house.orders[0]["signal"] == "judge"
    assert house.orders[0]["samples"] == [SAMPLED.content]
    assert house.orders[0]["settings"]["rubric"] == "Be right."
    house.granted = 0
    assert house.ask() == []
    assert len(house.orders) == 1


def test_a_judge_that_is_away_rests_and_is_told_of() -> None:
    house = House()
    house.answer = {"values": [None], "problem": "the judge did not answer: 503"}
    assert house.ask() == []
    assert "503" in house.judging.problem
    assert house.ask() == []
    assert len(house.orders) == 1
    house.now += 1.0
    house.answer = {"values": [0.5], "problem": ""}
    assert house.ask() == [0.5]
    assert house.judging.problem == ""


def test_a_failure_that_nobody_has_confirmed_for_long_is_told_no_more() -> None:
    house = House()
    house.answer = {"values": [None], "problem": "the judge did not answer: 503"}
    house.ask()
    house.now += 599.0
    assert "503" in house.judging.problem
    house.now += 1.0
    assert house.judging.problem == ""


def test_a_judge_that_never_answers_is_given_up() -> None:
    house = House()

    async def never(order: dict[str, Any]) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    judging = Judging(never, house.spend)
    judging.judge_one(SAMPLED, SETTINGS)
    assert "no verdict within 0.1 s" in judging.problem


def test_without_the_database_nobody_knows_what_is_spent() -> None:
    house = House()

    def away(task: str, wanted: int, per_hour: int) -> int:
        raise CatalogUnavailable("away")

    Judging(house.judge, away).judge_one(SAMPLED, SETTINGS)
    assert house.orders == []


def test_more_than_can_be_judged_are_let_go() -> None:
    house = House()
    for _ in range(MOST_WAITING + 10):
        house.judging.offer(SAMPLED, SETTINGS)
    assert house.judging.take() == []


@pytest.mark.parametrize("url", ["http://key:secret@judge/v1", "http://judge/v1?key=secret"])
def test_a_judges_key_stands_in_no_configuration(url: str) -> None:
    with pytest.raises(ValueError, match="credentials"):
        SampledJudgeSettings(url=url, model="m", rubric="Be right.")
