"""Samples and their scores, on real databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from adapters import tables
from adapters.catalog import Catalog
from adapters.rollout_records import RolloutRecords
from adapters.rollout_types import Phase, Sample, SampleScore
from adapters.sample_records import SampleRecords
from adapters.types import AdapterVersion

START = datetime(2025, 6, 1, tzinfo=UTC)
OLD, NEW = "triage@11111111", "triage@22222222"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def version(name: str) -> AdapterVersion:
    digest = name.partition("@")[2] * 8
    return AdapterVersion(name, name.partition("@")[0], digest, "base", 8, 16.0, ("q_proj",), 1, "test", START)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(state_url: str, clock: Clock) -> Iterator[Catalog]:
    catalog = Catalog(state_url, clock=clock)
    catalog.migrate()
    for name in (OLD, NEW):
        catalog.register(version(name))
    catalog.promote("triage", OLD, "ada")
    yield catalog
    catalog.close()


@pytest.fixture
def records(catalog: Catalog) -> SampleRecords:
    return SampleRecords(catalog, "control:a")


@pytest.fixture
def rollout(catalog: Catalog) -> int:
    return RolloutRecords(catalog).begin("triage", NEW, OLD, Phase.CANARY, {}, actor="ada").id


def sample(rollout: int, role: str = "canary", signal: str = "judge", content: str = "{}", minutes: int = 60) -> Sample:
    of = OLD if role == "stable" else NEW
    return Sample(rollout, role, signal, of, "labels", content, START, START + timedelta(minutes=minutes))


def newest(records: SampleRecords, rollout: int, signal: str = "judge", limit: int = 10) -> list[Sample]:
    candidate, stable = records.newest(rollout, signal, limit)
    return [*candidate, *stable]


def kept(catalog: Catalog) -> int:
    with catalog.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.samples)).scalar_one())


def test_samples_wait_by_rollout_and_signal_and_the_newest_of_either_version_come_first(
    records: SampleRecords, rollout: int
) -> None:
    given = [sample(rollout, role, content=f'"{n}"') for n, role in enumerate(("canary", "stable", "shadow", "canary"))]
    records.add([*given, sample(rollout, signal="suite")])
    assert records.waiting() == [(rollout, "judge"), (rollout, "suite")]
    candidate, stable = records.newest(rollout, "judge", 2)
    assert [each.content for each in candidate] == ['"3"', '"2"']
    assert [replace(each, id=0) for each in stable] == [given[1]]


def test_a_scored_sample_is_gone_and_counts_once(catalog: Catalog, records: SampleRecords, rollout: int) -> None:
    records.add([sample(rollout), sample(rollout, "stable")])
    found = newest(records, rollout)
    other = SampleRecords(catalog, "control:b")
    assert records.settle([(found[0], 0.25)]) == 1
    assert other.settle([(found[0], 0.9), (found[1], 1.0)]) == 1
    assert records.settle([(each, 0.5) for each in found]) == 0
    assert kept(catalog) == 0
    assert records.scores(rollout, {}) == [
        SampleScore("control:a", 1, "canary", "judge", 0.25),
        SampleScore("control:b", 2, "stable", "judge", 1.0),
    ]


def test_the_score_of_a_sample_that_was_forgotten_counts_for_the_budget_alone(
    records: SampleRecords, rollout: int
) -> None:
    records.add([sample(rollout), sample(rollout, "stable")])
    asked_about = newest(records, rollout)
    records.drop(rollout)
    assert records.settle([(each, 1.0) for each in asked_about]) == 0
    assert (records.scores(rollout, {}), records.spent("triage", "judge")) == ([], 2)


def test_scores_are_read_from_where_a_reader_was(catalog: Catalog, records: SampleRecords, rollout: int) -> None:
    other = SampleRecords(catalog, "control:b")
    for each, value in ((records, 0.1), (records, 0.2), (other, 0.3), (records, 0.4)):
        records.add([sample(rollout)])
        each.settle([(newest(records, rollout)[0], value)])
    assert [score.value for score in records.scores(rollout, {"control:a": 1})] == [0.2, 0.4, 0.3]
    assert [score.value for score in records.scores(rollout, {"control:a": 3})] == [0.3]
    assert records.scores(rollout, {"control:a": 3, "control:b": 1}) == []
    assert records.scores(rollout + 1, {}) == []


def test_a_sample_without_a_score_is_gone_and_counts_for_the_budget_alone(
    catalog: Catalog, records: SampleRecords, rollout: int, clock: Clock
) -> None:
    records.add([sample(rollout), sample(rollout), sample(rollout, signal="suite")])
    records.settle([(each, None) for each in newest(records, rollout)])
    records.settle([(each, 1.0) for each in newest(records, rollout, "suite")])
    assert kept(catalog) == 0
    assert [score.signal for score in records.scores(rollout, {})] == ["suite"]
    assert (records.spent("triage", "judge"), records.spent("other", "judge")) == (2, 0)
    clock.now = START + timedelta(minutes=59)
    assert records.spent("triage", "judge") == 2
    clock.now = START + timedelta(minutes=61)
    assert records.spent("triage", "judge") == 0


def test_a_sample_is_forgotten_when_its_time_is_over(
    catalog: Catalog, records: SampleRecords, rollout: int, clock: Clock
) -> None:
    records.add([sample(rollout, minutes=1), sample(rollout, minutes=5)])
    clock.now = START + timedelta(minutes=2)
    assert len(newest(records, rollout)) == 1
    records.prune()
    assert kept(catalog) == 1
    clock.now = START + timedelta(minutes=6)
    records.add([sample(rollout, minutes=60)])
    assert kept(catalog) == 1


def test_what_belongs_to_a_rollout_goes_with_it_and_the_budget_stays_spent(
    catalog: Catalog, records: SampleRecords, rollout: int, clock: Clock
) -> None:
    records.add([sample(rollout), sample(rollout)])
    records.settle([(newest(records, rollout)[0], 1.0)])
    rollouts = RolloutRecords(catalog)
    rollouts.save(replace(rollouts.rollout(rollout), phase=Phase.STOPPED))
    records.prune()
    assert kept(catalog) == 0
    assert records.spent("triage", "judge") == 1
    clock.now = START + timedelta(minutes=61)
    records.prune()
    assert records.scores(rollout, {}) == []


def test_the_numbers_of_scores_never_come_again(
    catalog: Catalog, records: SampleRecords, rollout: int, clock: Clock
) -> None:
    records.add([sample(rollout)])
    records.settle([(newest(records, rollout)[0], 1.0)])
    rollouts = RolloutRecords(catalog)
    rollouts.save(replace(rollouts.rollout(rollout), phase=Phase.STOPPED))
    clock.now = START + timedelta(hours=2)
    records.prune()
    later = rollouts.begin("triage", NEW, OLD, Phase.CANARY, {}, actor="ada").id
    records.add([sample(later, minutes=600)])
    records.settle([(newest(records, later)[0], 0.5)])
    assert [score.place for score in records.scores(later, {})] == [2]


def test_samples_that_nobody_asks_for_are_dropped(catalog: Catalog, records: SampleRecords, rollout: int) -> None:
    records.add([sample(rollout), sample(rollout, signal="suite")])
    records.drop(rollout, "judge")
    assert records.waiting() == [(rollout, "suite")]
    records.add([sample(rollout), sample(rollout + 1)])
    records.drop(rollout)
    assert records.waiting() == [(rollout + 1, "judge")]
    records.drop_all()
    assert kept(catalog) == 0


def test_an_error_of_the_database_quotes_no_sample(catalog: Catalog, records: SampleRecords, rollout: int) -> None:
    from adapters.errors import CatalogUnavailable

    with catalog.database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE answer_samples")
    with pytest.raises(CatalogUnavailable) as raised:
        records.add([sample(rollout, content='"a secret"')])
    chain = f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__cause__}"
    assert "secret" not in chain
    assert "secret" not in repr(sample(rollout, content='"a secret"'))
