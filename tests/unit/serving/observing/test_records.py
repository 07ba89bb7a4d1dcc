"""What the observing processes of all replicas share."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from adapters.database import Database
from adapters.errors import CatalogUnavailable
from serving.observing.records import DONE, DRIFT, QUALITY, WAITING, LeaseLost, MonitoringRecords, StateKey
from serving.observing.tables import SCHEMA, keepers

KEY = StateKey(QUALITY, "triage", "triage@11111111")


@pytest.fixture
def database(state_url: str) -> Iterator[Database]:
    database = Database(state_url, SCHEMA)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def records(database: Database) -> MonitoringRecords:
    return MonitoringRecords(database, "r0:1")


def test_one_process_at_a_time_keeps_the_windows(database: Database, records: MonitoringRecords) -> None:
    other = MonitoringRecords(database, "r1:1")
    assert records.claim(60)
    assert records.claim(60)
    assert not other.claim(60)
    records.release()
    assert other.claim(60)
    assert not records.claim(60)


def test_a_lease_that_ran_out_is_anybodys(database: Database, records: MonitoringRecords) -> None:
    assert records.claim(-1)
    assert MonitoringRecords(database, "r1:1").claim(60)
    with pytest.raises(LeaseLost):
        records.save({KEY: "{}"})
    with pytest.raises(LeaseLost):
        records.save_reports({"triage": "{}"})


def test_a_lease_is_written_again_only_when_there_is_little_left_of_it_or_too_much(
    database: Database, records: MonitoringRecords
) -> None:
    def until() -> datetime:
        with database.reading() as connection:
            found: datetime = connection.execute(select(keepers.c.until)).scalar_one()
            return found

    assert records.claim(900)
    long = until()
    assert records.claim(60)
    short = until()
    assert short < long
    assert records.claim(60)
    assert until() == short
    assert records.claim(600)
    assert until() > short


def test_states_are_written_together_with_what_they_were_made_of(records: MonitoringRecords) -> None:
    for content in ("[1]", "[2]", "[3]"):
        records.add_batch(content)
    batches = records.new_batches((), 2)
    assert [content for _, content in batches] == ["[1]", "[2]"]
    numbers = [number for number, _ in batches]
    assert [content for _, content in records.new_batches(numbers, 2)] == ["[3]"]
    with pytest.raises(LeaseLost):
        records.save({KEY: "{}"}, folded=numbers)
    assert len(records.new_batches((), 10)) == 3
    records.claim(60)
    records.save({KEY: "{}"}, folded=numbers)
    assert records.states() == {KEY: "{}"}
    assert [content for _, content in records.new_batches((), 10)] == ["[3]"]
    records.save({KEY: '{"n": 2}', StateKey(DRIFT, "triage"): "{}"})
    records.save({}, gone=[StateKey(DRIFT, "triage")])
    assert records.states() == {KEY: '{"n": 2}'}


def test_reports_are_replaced(records: MonitoringRecords) -> None:
    records.claim(60)
    records.save_reports({"triage": "1", "other": "2"})
    records.save_reports({"triage": "3"})
    assert [(report.task, report.body) for report in records.reports()] == [("triage", "3")]
    records.save_reports({})
    assert records.reports() == []


def test_a_reference_is_asked_for_and_settled(records: MonitoringRecords) -> None:
    asked = records.ask_for_reference("triage", "ada", "triage@11111111")
    assert (asked.state, asked.actor) == (WAITING, "ada")
    assert [one.id for one in records.references(state=WAITING)] == [asked.id]
    records.claim(60)
    records.save({}, settled={asked.id: (DONE, "240 rows")})
    assert records.references(state=WAITING) == []
    assert [(one.state, one.detail) for one in records.references()] == [(DONE, "240 rows")]


def test_of_old_references_the_last_ones_are_kept(records: MonitoringRecords) -> None:
    for _ in range(25):
        records.ask_for_reference("triage", "ada", None)
    records.ask_for_reference("other", "ada", None)
    assert len(records.references()) == 21


def test_a_budget_is_that_of_all_processes(database: Database, records: MonitoringRecords) -> None:
    other = MonitoringRecords(database, "r1:1")
    assert records.spend("triage", 2, 3) == 2
    assert other.spend("triage", 2, 3) == 1
    assert records.spend("triage", 1, 3) == 0
    assert records.spend("other", 1, 3) == 1


def test_a_database_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    broken = MonitoringRecords(Database(f"sqlite:///{tmp_path}/empty.db", SCHEMA), "r0:1")
    with pytest.raises(CatalogUnavailable):
        broken.claim(60)
    broken.close()
