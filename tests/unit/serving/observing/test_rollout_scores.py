"""The signal `quality` of automatic rollouts."""

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.catalog import Catalog
from adapters.sample_records import SampleRecords
from monitoring.quality.options import ScoreOptions
from monitoring.quality.types import Check
from serving.config import RolloutSettings
from serving.observing.rollout_scores import RolloutScores, worth
from tests.unit.serving.observing.facts import record

OPTIONS = ScoreOptions(weights={"refusal": 0.5, "empty": 1.0})


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def records(state_url: str) -> Iterator[SampleRecords]:
    catalog = Catalog(state_url)
    catalog.migrate()
    yield SampleRecords(catalog, "observer:1")
    catalog.close()


def scores(records: SampleRecords, clock: Clock | None = None, **quality: Any) -> RolloutScores:
    policy = RolloutSettings.model_validate({"signals": {"quality": quality}})
    return RolloutScores(records, {"triage": policy}, clock=clock or Clock())


def test_an_answer_is_worth_what_its_failures_leave_of_it() -> None:
    assert worth((), OPTIONS) == 1.0
    assert worth([Check("refusal", 1.0)], OPTIONS) == 0.5
    assert worth([Check("refusal", 0.5), Check("repetition", 0.0)], OPTIONS) == 0.75
    assert worth([Check("refusal", 1.0), Check("empty", 1.0)], OPTIONS) == 0.0


def test_only_what_counts_for_a_rollout_with_the_signal_is_scored(records: SampleRecords) -> None:
    it = scores(records)
    it.add(record(rollout=7), [Check("refusal", 1.0)], OPTIONS)
    it.add(record(rollout=7, role="canary", adapter="triage@22222222"), [], OPTIONS)
    it.add(record(rollout=None), [], OPTIONS)
    it.add(record(rollout=7, adapter="cards@11111111"), [], OPTIONS)
    it.write()
    it.write()
    found = [(one.place, one.role, one.signal, one.value) for one in records.scores(7, {})]
    assert found == [(1, "stable", "quality", 0.5), (2, "canary", "quality", 1.0)]


def test_so_many_of_a_version_are_scored_in_a_minute(records: SampleRecords) -> None:
    clock = Clock()
    it = scores(records, clock, per_minute=2)
    for _ in range(5):
        it.add(record(rollout=7), [], OPTIONS)
    it.add(record(rollout=7, role="canary", adapter="triage@22222222"), [], OPTIONS)
    clock.now += 60
    it.add(record(rollout=7), [], OPTIONS)
    it.write()
    assert [one.role for one in records.scores(7, {})] == ["stable", "stable", "canary", "stable"]
