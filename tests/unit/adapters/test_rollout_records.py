"""Reports, automatic rollouts, signals and the ledger, on real databases."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from adapters import tables
from adapters.catalog import Catalog
from adapters.errors import RolloutConflict, VersionNotFound
from adapters.migrations.versions import v0002_life, v0003_samples
from adapters.rollout_records import RolloutRecords
from adapters.rollout_types import AnsweredRequest, Phase, Report, RoleCounts
from adapters.signal_records import SignalRecords
from adapters.types import AdapterVersion, Alias

NOW = datetime(2025, 6, 1, tzinfo=UTC)
OLD, NEW, OTHER = "triage@11111111", "triage@22222222", "intent@33333333"


def version(name: str) -> AdapterVersion:
    digest = name.partition("@")[2] * 8
    return AdapterVersion(name, name.partition("@")[0], digest, "base", 8, 16.0, ("q_proj",), 1, "test", NOW)


@pytest.fixture
def catalog(state_url: str) -> Iterator[Catalog]:
    catalog = Catalog(state_url, clock=lambda: NOW)
    catalog.migrate()
    for name in (OLD, NEW, OTHER):
        catalog.register(version(name))
    catalog.promote("triage", OLD, "ada")
    yield catalog
    catalog.close()


@pytest.fixture
def records(catalog: Catalog) -> RolloutRecords:
    return RolloutRecords(catalog)


def begun(records: RolloutRecords, phase: Phase = Phase.CANARY) -> int:
    return records.begin("triage", NEW, OLD, phase, {"alpha": 0.05}, actor="ada").id


def answer(number: int = 1, **changes: object) -> AnsweredRequest:
    made = AnsweredRequest(f"chatcmpl-{number}", f"req-{number}", "bob", "support", "triage", NEW, "canary", None, NOW)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_reports_are_read_newest_first(records: RolloutRecords) -> None:
    records.add_report(Report(NEW, "run", None, "first", {"a": 1}, "ada"))
    added = records.add_report(Report(NEW, "gate", "passed", "second", {}, "bob"))
    found = records.reports(NEW)
    assert [report.summary for report in found] == ["second", "first"]
    assert found[0] == added
    assert (found[1].body, found[1].actor, found[1].at) == ({"a": 1}, "ada", NOW)
    assert records.reports(OLD) == []


def test_a_report_of_an_unknown_version_is_refused(records: RolloutRecords) -> None:
    with pytest.raises(VersionNotFound):
        records.add_report(Report("triage@99999999", "run", None, "", {}))


def test_replicas_see_a_rollout_and_what_it_watches(catalog: Catalog, records: RolloutRecords) -> None:
    number = begun(records, Phase.EXAMINING)
    assert catalog.snapshot().rollouts["triage"].phase is Phase.EXAMINING
    assert catalog.snapshot().watched == {}
    stored = records.save(replace(records.rollout(number), phase=Phase.CANARY, share=0.1))
    assert stored.generation == 1
    mark = catalog.snapshot().rollouts["triage"]
    assert (mark.id, mark.candidate, mark.stable, mark.share) == (number, NEW, OLD, 0.1)
    assert set(catalog.snapshot().watched) == {OLD, NEW}
    records.save(replace(stored, phase=Phase.ROLLED_BACK, share=0.0), event="end-rollout", actor="rollout")
    assert catalog.snapshot().watched == {}
    assert catalog.snapshot().rollouts["triage"].phase is Phase.ROLLED_BACK
    assert [event.action for event in catalog.history(limit=2)] == ["end-rollout", "rollout"]


def test_only_what_replicas_need_to_know_makes_a_revision(catalog: Catalog, records: RolloutRecords) -> None:
    number = begun(records)
    before = catalog.revision()
    stored = records.save(replace(records.rollout(number), state={"evidence": [1, 2]}))
    assert catalog.revision() == before
    assert records.rollout(number) == stored
    records.save(replace(stored, share=0.5))
    assert catalog.revision() == before + 1


def test_a_writer_that_has_not_seen_the_last_change_is_refused(records: RolloutRecords) -> None:
    mine = yours = records.rollout(begun(records))
    records.save(replace(mine, state={"step": 1}))
    with pytest.raises(RolloutConflict, match="changed by somebody else"):
        records.save(replace(yours, phase=Phase.PROMOTING))
    with pytest.raises(RolloutConflict, match="changed by somebody else"):
        records.save(replace(yours, state={"step": 2}))


def test_an_alias_has_one_rollout_at_a_time(records: RolloutRecords) -> None:
    number = begun(records)
    with pytest.raises(RolloutConflict, match="--stop"):
        begun(records)
    assert [rollout.id for rollout in records.active()] == [number]
    ended = records.save(replace(records.rollout(number), phase=Phase.STOPPED))
    assert ended.ended_at == NOW
    assert records.active() == []
    again = begun(records)
    assert [rollout.id for rollout in records.last("triage", 5)] == [again, number]


def test_a_rollout_against_another_stable_version_is_refused(catalog: Catalog, records: RolloutRecords) -> None:
    catalog.promote("triage", NEW, "ada")
    with pytest.raises(RolloutConflict, match="has changed"):
        begun(records)
    with pytest.raises(RolloutConflict, match="version of intent"):
        records.begin("triage", OTHER, NEW, Phase.CANARY, {}, actor="ada")


def test_an_alias_that_somebody_changed_meanwhile_is_left_alone(catalog: Catalog) -> None:
    seen = catalog.snapshot().aliases["triage"]
    catalog.set_canary("triage", NEW, 0.5, "bob")
    for change in (
        lambda: catalog.promote("triage", NEW, "ada", expected=seen),
        lambda: catalog.set_canary("triage", NEW, 0.1, "ada", expected=seen),
        lambda: catalog.set_shadow("triage", NEW, "ada", expected=seen),
        lambda: catalog.rollback("triage", "ada", expected=seen),
    ):
        with pytest.raises(RolloutConflict, match="changed by somebody else"):
            change()
    assert catalog.snapshot().aliases["triage"] == replace(seen, canary=NEW, canary_share=0.5)


def test_the_history_says_why(catalog: Catalog) -> None:
    catalog.set_canary("triage", NEW, 0.5, "rollout", reason="no sign of harm")
    catalog.rollback("triage", "rollout", reason="contract 3/10 against 0/90")
    catalog.set_shadow("triage", NEW, "rollout", reason="passed the gate")
    catalog.promote("triage", NEW, "rollout", reason="proved to be no worse")
    assert [event.detail for event in catalog.history(limit=4)] == [
        f"was {OLD}: proved to be no worse",
        "passed the gate",
        f"dropped canary {NEW}: contract 3/10 against 0/90",
        "share 0.5: no sign of harm",
    ]


def counted(n: int, bad: int) -> RoleCounts:
    return RoleCounts({"errors": [n, bad]}, {"whole": {3: n}})


def test_counts_of_all_processes_add_up_and_are_written_as_often_as_one_likes(catalog: Catalog) -> None:
    one, two = SignalRecords(catalog, "r0:a"), SignalRecords(catalog, "r1:b")
    for _ in range(2):
        one.write({(1, "canary"): counted(10, 1).to_json(), (2, "canary"): counted(99, 9).to_json()})
    two.write({(1, "canary"): counted(5, 0).to_json(), (1, "stable"): counted(50, 2).to_json()})
    one.write({(1, "canary"): counted(12, 2).to_json()})
    assert two.totals(1) == {"canary": counted(17, 2), "stable": counted(50, 2)}
    assert two.totals(7) == {}


def test_counts_are_dropped_once_their_rollout_has_ended(catalog: Catalog, records: RolloutRecords) -> None:
    number, signals = begun(records), SignalRecords(catalog, "r0:a")
    signals.write({(number, "canary"): counted(1, 0).to_json(), (number + 1, "canary"): counted(1, 0).to_json()})
    signals.prune_counts()
    assert signals.totals(number)
    assert not signals.totals(number + 1)
    records.save(replace(records.rollout(number), phase=Phase.PROMOTED))
    signals.prune_counts()
    assert not signals.totals(number)


@pytest.mark.parametrize("id", ["chatcmpl-1", "req-1"])
def test_an_answer_is_judged_by_either_of_its_ids(catalog: Catalog, id: str) -> None:  # noqa: A002
    signals = SignalRecords(catalog, "r0:a")
    signals.append([answer(1), answer(2)])
    judged = signals.judge(id, "bob", 0.25, "too long")
    assert judged == answer(1, score=0.25, comment="too long")


def test_only_its_caller_or_an_administrator_judges_an_answer(catalog: Catalog) -> None:
    signals = SignalRecords(catalog, "r0:a")
    signals.append([answer(1)])
    assert signals.judge("req-1", "eve", 1.0, None) is None
    assert signals.judge("req-9", None, 1.0, None) is None
    assert signals.judge("req-1", None, 1.0, None) is not None


def test_the_newest_answer_of_a_request_id_is_judged(catalog: Catalog) -> None:
    signals = SignalRecords(catalog, "r0:a")
    signals.append([answer(1), answer(1, response_id="chatcmpl-new", version=OLD)])
    judged = signals.judge("req-1", "bob", 1.0, None)
    assert judged is not None
    assert judged.version == OLD


def test_the_first_judgment_counts_for_the_rollout_and_the_last_one_is_kept(catalog: Catalog) -> None:
    signals = SignalRecords(catalog, "r0:a")
    signals.append([answer(1, rollout=7), answer(2, rollout=7), answer(3)])
    for id, score in (("req-1", 0.0), ("req-1", 1.0), ("req-2", 0.5), ("req-3", 0.0)):  # noqa: A001
        signals.judge(id, "bob", score, None)
    assert signals.totals(7) == {"canary": RoleCounts({"feedback": [2, 1]})}
    last = signals.judge("req-1", "bob", 0.9, "better")
    assert last is not None
    assert (last.score, last.comment) == (0.9, "better")


def test_judgments_and_a_replicas_own_counts_do_not_overwrite_each_other(catalog: Catalog) -> None:
    signals = SignalRecords(catalog, "r0:a")
    signals.append([answer(1, rollout=7)])
    signals.write({(7, "canary"): counted(10, 1).to_json()})
    signals.judge("req-1", "bob", 0.0, None)
    signals.write({(7, "canary"): counted(11, 1).to_json()})
    assert signals.totals(7)["canary"].signals == {"errors": [11, 1], "feedback": [1, 1]}


def test_answers_are_forgotten_by_age_and_by_number(catalog: Catalog) -> None:
    signals = SignalRecords(catalog, "r0:a")
    signals.append([answer(1, at=NOW - timedelta(days=3)), *(answer(number) for number in range(2, 6))])
    signals.prune_ledger(keep_days=2, keep_requests=3)
    kept = [number for number in range(1, 6) if signals.judge(f"req-{number}", None, 1.0, None)]
    assert kept == [3, 4, 5]


def test_a_database_of_the_first_schema_is_brought_up_to_date(empty_state_url: str) -> None:
    from alembic import command
    from alembic.config import Config

    from adapters.database import CATALOG_SCHEMA, Database

    database = Database(empty_state_url)
    config = Config()
    config.set_main_option("script_location", str(CATALOG_SCHEMA.revisions.parent))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(CATALOG_SCHEMA.revisions))
    with database.writing() as connection:
        config.attributes |= {"connection": connection, "version_table": CATALOG_SCHEMA.version_table}
        command.upgrade(config, "0001")
    database.close()
    catalog = Catalog(empty_state_url)
    catalog.migrate()
    assert catalog.snapshot().aliases == {}
    assert catalog.snapshot().rollouts == {}
    assert Alias("triage").canary is None
    catalog.close()


@pytest.mark.parametrize(("revision", "table"), [(v0002_life, tables.requests), (v0003_samples, tables.samples)])
def test_postgresql_numbers_what_comes_with_requests_in_64_bits(revision: ModuleType, table: Table) -> None:
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written, "target_metadata": tables.metadata}
    )
    with Operations.context(context):
        revision.upgrade()

    (migrated,) = re.findall(rf"CREATE TABLE {table.name} \(\s*id (\w+)", written.getvalue())
    declared = str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    assert (migrated, "id BIGSERIAL" in declared) == ("BIGSERIAL", True)
