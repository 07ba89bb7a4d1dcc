"""Which samples are scored, how many, and what happens when they cannot be."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.catalog import Catalog
from adapters.rollout_records import RolloutRecords
from adapters.rollout_types import Phase, Sample
from adapters.types import AdapterVersion
from serving.config import RolloutSettings, parse_config
from serving.life.protocol import Order, Scored
from serving.life.scorer import CHECKED_AT_ONCE, SampleScorer
from tests.lifecycle import until

OLD, NEW = "triage@11111111", "triage@22222222"
JUDGE: dict[str, Any] = {"url": "http://judge/v1", "model": "m", "rubric": "Be right."}


class Scripted:
    """Scores everything the same, or has a problem; remembers its orders."""

    def __init__(self) -> None:
        self.value: float | None = 1.0
        self.problem = ""
        self.tries = True
        self.orders: list[Order] = []
        self.closed = False

    async def score(self, order: Order) -> Scored:
        self.orders.append(order)
        return Scored((self.value,) * len(order.samples) if self.tries else (), self.problem)

    async def close(self) -> None:
        self.closed = True


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def policy(**samples: Any) -> dict[str, Any]:
    settings = {"judge": JUDGE, "suite": {"file": "suite.yaml"}} | samples
    return {"signals": {"samples": settings}}


@pytest.fixture
def catalog(state_url: str) -> Iterator[Catalog]:
    catalog = Catalog(state_url)
    catalog.migrate()
    for name in (OLD, NEW):
        digest = name.partition("@")[2] * 8
        catalog.register(
            AdapterVersion(name, "triage", digest, "base", 8, 16.0, ("q_proj",), 1, "test", datetime.now(UTC))
        )
    catalog.promote("triage", OLD, "ada")
    yield catalog
    catalog.close()


def begin(catalog: Catalog, phase: Phase = Phase.CANARY, **samples: Any) -> int:
    settings = RolloutSettings.model_validate(policy(**samples)).model_dump(mode="json")
    return RolloutRecords(catalog).begin("triage", NEW, OLD, phase, settings, actor="ada").id


def scorer(
    catalog: Catalog, clock: Clock | None = None, scoring: Scripted | None = None, **config: Any
) -> SampleScorer:
    settings = {"rollouts": {"triage": policy()}} | config
    data = {"model": {"id": "org/base"}, "adapters": settings, "life": {"check_interval_s": 0.01}}
    return SampleScorer(parse_config(data), catalog, make=lambda: scoring or Scripted(), clock=clock or Clock())


def samples(rollout: int, candidate: int, stable: int, signal: str = "judge") -> list[Sample]:
    now = datetime.now(UTC)
    until_then = now + timedelta(minutes=60)
    return [
        *(Sample(rollout, "canary", signal, NEW, "labels", f'"c{n}"', now, until_then) for n in range(candidate)),
        *(Sample(rollout, "stable", signal, OLD, "labels", f'"s{n}"', now, until_then) for n in range(stable)),
    ]


def left(it: SampleScorer, rollout: int, signal: str = "judge") -> tuple[int, int]:
    candidate, stable = it.records.newest(rollout, signal, 1000)
    return len(candidate), len(stable)


async def test_a_judge_gets_as_many_of_either_version_and_the_newest_first(catalog: Catalog) -> None:
    number, it, scoring = begin(catalog), scorer(catalog), Scripted()
    it.records.add(samples(number, 3, 9))
    await it.score_waiting("judge", scoring)
    (order,) = scoring.orders
    assert [sample.content for sample in order.samples] == ['"c2"', '"c1"', '"c0"', '"s8"', '"s7"', '"s6"']
    assert order.settings["rubric"] == "Be right."
    assert left(it, number) == (0, 6)
    await it.score_waiting("judge", scoring)
    assert len(scoring.orders) == 1
    assert len(it.records.scores(number, {})) == 6
    await it.stop()


async def test_rules_get_all_there_are(catalog: Catalog) -> None:
    number, it, scoring = begin(catalog), scorer(catalog), Scripted()
    it.records.add([*samples(number, 1, 20, "suite"), *samples(number, 2, 2, "judge")])
    await it.score_waiting("suite", scoring)
    await it.score_waiting("suite", scoring)
    assert [len(order.samples) for order in scoring.orders] == [1 + CHECKED_AT_ONCE, 20 - CHECKED_AT_ONCE]
    assert left(it, number, "suite") == (0, 0)
    assert left(it, number) == (2, 2)
    await it.stop()


async def test_a_spent_budget_makes_the_judge_silent(catalog: Catalog) -> None:
    number = begin(catalog, judge=JUDGE | {"requests_per_hour": 5})
    it, scoring = scorer(catalog), Scripted()
    it.records.add(samples(number, 10, 10))
    for _ in range(3):
        await it.score_waiting("judge", scoring)
    assert [len(order.samples) for order in scoring.orders] == [4]
    # Another process has the same budget.
    again = scorer(catalog)
    await again.score_waiting("judge", scoring)
    assert len(scoring.orders) == 1
    await it.stop()
    await again.stop()


async def test_a_judge_that_is_away_is_asked_after_growing_pauses(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    clock, scoring, number = Clock(), Scripted(), begin(catalog)
    it = scorer(catalog, clock)
    scoring.value, scoring.problem = None, "the judge did not answer: 503"
    it.records.add(samples(number, 40, 40))
    asked = []
    with caplog.at_level(logging.WARNING):
        for second in range(8):
            clock.now = 1000.0 + second
            await it.score_waiting("judge", scoring)
            asked.append(len(scoring.orders))
    assert asked == [1, 2, 2, 3, 3, 3, 3, 4]
    assert [record.getMessage() for record in caplog.records] == [
        f"the signal judge of rollout {number} is silent: the judge did not answer: 503"
    ]
    assert it.records.scores(number, {}) == []
    scoring.value, scoring.problem = 0.5, ""
    for later in (2000.0, 2001.0):
        clock.now = later
        await it.score_waiting("judge", scoring)
    assert [len(order.samples) for order in scoring.orders] == [8, 2, 2, 2, 2, 8]
    assert len(it.records.scores(number, {})) == 10
    await it.stop()


async def test_samples_that_were_not_tried_wait(catalog: Catalog) -> None:
    number, it, scoring = begin(catalog), scorer(catalog), Scripted()
    scoring.tries, scoring.problem = False, "the judge's key is not in the environment variable K"
    it.records.add(samples(number, 2, 2))
    await it.score_waiting("judge", scoring)
    assert left(it, number) == (2, 2)
    await it.stop()


async def test_samples_of_a_rollout_that_has_ended_or_asks_for_none_are_deleted(catalog: Catalog) -> None:
    number, it, scoring = begin(catalog, judge=None), scorer(catalog), Scripted()
    it.records.add([*samples(number, 2, 2), *samples(number + 7, 1, 1)])
    await it.score_waiting("judge", scoring)
    assert it.records.waiting() == []
    records = RolloutRecords(catalog)
    records.save(replace(records.rollout(number), phase=Phase.PROMOTED))
    it.records.add(samples(number, 2, 2, "suite"))
    await it.score_waiting("suite", scoring)
    assert it.records.waiting() == []
    assert scoring.orders == []
    await it.stop()


async def test_nothing_is_scored_while_the_rollout_watches_nothing(catalog: Catalog) -> None:
    number, it, scoring = begin(catalog, Phase.ROLLING_BACK), scorer(catalog), Scripted()
    it.records.add(samples(number, 2, 2))
    await it.score_waiting("judge", scoring)
    assert scoring.orders == []
    assert left(it, number) == (2, 2)
    await it.stop()


async def test_it_goes_on_by_itself_and_lets_go_of_what_scores(catalog: Catalog) -> None:
    scoring, number = Scripted(), begin(catalog)
    it = scorer(catalog, scoring=scoring)
    it.records.add([*samples(number, 2, 2), *samples(number, 1, 1, "suite")])
    await it.start()
    await until(lambda: it.records.waiting() == [], "the scores")
    await it.stop()
    assert scoring.closed
    assert sorted(score.signal for score in it.records.scores(number, {})) == ["judge"] * 4 + ["suite"] * 2


async def test_where_no_samples_are_asked_for_those_of_an_earlier_configuration_go(catalog: Catalog) -> None:
    number, it = begin(catalog), scorer(catalog, rollouts={})
    it.records.add(samples(number, 2, 2))
    await it.start()
    assert it.records.waiting() == []
    await it.stop()
