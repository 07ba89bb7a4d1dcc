"""What PostgreSQL alone can do to the state: hang, restart, refuse, and have several writers at once."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import cast

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url

import serving.jobs.tables
import serving.knowledge.tables
import serving.observing.tables
from adapters import tables
from adapters.catalog import Catalog
from adapters.catalog_rows import version_values
from adapters.database import Database
from adapters.errors import CatalogUnavailable
from adapters.postgres import BoundedConnection
from adapters.rollout_records import RolloutRecords
from adapters.rollout_types import AnsweredRequest, Phase
from adapters.schema import Moved, Schema
from adapters.signal_records import SignalRecords
from adapters.types import ReplicaReport
from serving.jobs.records import Jobs
from serving.jobs.types import NewCheckpoint, NewEvent, News
from serving.knowledge.file_records import Files
from serving.knowledge.types import FileRecord
from serving.observing.records import MonitoringRecords, StateKey
from tests.adapter_factory import make_version
from tests.postgres_server import PASSWORD, USER, PostgresServer
from tests.state_urls import SCHEMAS, migrate_all
from tests.unit.serving.jobs.test_events_file import a_job

IMPATIENT = "?connect_timeout=2&options=-c%20statement_timeout%3D1000"
FIRST_S = 1 + 2 + 2 + 2
"""A call on a connection that was open: the server's limit, our grace, a new connection; and a busy machine."""
LATER_S = 2 + 2
WRITERS = 4


@pytest.fixture
def url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    made = postgres_server.new_database(postgres_template)
    yield made
    postgres_server.drop_database(made)


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    """A catalog with little patience."""
    catalog = Catalog(url + IMPATIENT)
    yield catalog
    catalog.close()


def seconds_to_fail(work: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(CatalogUnavailable):
        work()
    return time.monotonic() - began


# The schema


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.version_table)
def test_every_step_of_the_schema_leads_to_the_tables_that_the_code_declares(
    empty_state_url: str, schema: Schema
) -> None:
    database = Database(empty_state_url, schema)
    for step in sorted(script.revision for script in schema._scripts().walk_revisions()):
        with database.maintaining() as connection:
            schema.upgrade(connection, step)
    assert database.migrate() == Moved(schema.head, schema.head)
    names = set(schema.tables.tables)
    with database.reading() as connection:
        own = {"include_name": lambda name, kind, _: kind != "table" or name in names}
        context = MigrationContext.configure(connection, opts=own | {"version_table": schema.version_table})
        assert compare_metadata(context, schema.tables) == []
    database.close()


def test_a_migration_waits_for_writers_longer_than_any_other_statement(
    postgres_server: PostgresServer, url: str
) -> None:
    writer, migrating = Database(url), Database(url + "?options=-c%20statement_timeout%3D50")
    with ThreadPoolExecutor(1) as thread:
        with writer.writing():
            migration = thread.submit(migrating.migrate)
            wait_until(lambda: waits_for_a_lock(postgres_server, url))
            with pytest.raises(CatalogUnavailable, match="statement timeout"), migrating.writing():
                pass
        migration.result(10)
    writer.close()
    migrating.close()


def test_a_role_that_may_not_change_the_schema_serves_once_it_is_there(
    postgres_server: PostgresServer, url: str
) -> None:
    name = make_url(url).database or ""
    with postgres_server.connect(name) as owner:
        for statement in (
            "DROP ROLE IF EXISTS gateway",
            f"CREATE ROLE gateway LOGIN PASSWORD '{PASSWORD}'",
            "GRANT USAGE ON SCHEMA public TO gateway",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO gateway",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO gateway",
        ):
            owner.execute(statement.encode())
    limited = url.replace(f"//{USER}:", "//gateway:")
    migrate_all(limited)
    catalog = Catalog(limited)
    assert catalog.register(make_version("triage", "one"))
    with pytest.raises(CatalogUnavailable, match="permission denied"), catalog.database.writing() as connection:
        connection.execute(text("CREATE TABLE more (number integer)"))
    catalog.close()
    with postgres_server.connect(name) as owner:
        owner.execute("DROP OWNED BY gateway")
        owner.execute("DROP ROLE gateway")


def test_an_empty_database_and_a_role_that_may_not_make_tables_are_named(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with postgres_server.connect() as owner:
        owner.execute("DROP ROLE IF EXISTS visitor")
        owner.execute(f"CREATE ROLE visitor LOGIN PASSWORD '{PASSWORD}'".encode())
    catalog = Catalog(url.replace(f"//{USER}:", "//visitor:"))
    with pytest.raises(CatalogUnavailable, match="permission denied for schema public"):
        catalog.migrate()
    catalog.close()
    postgres_server.drop_database(url)
    with postgres_server.connect() as owner:
        owner.execute("DROP ROLE visitor")


def test_the_password_may_stand_in_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = url.replace(f":{PASSWORD}@", "@")
    catalog = Catalog(bare)
    with pytest.raises(CatalogUnavailable, match="password"):
        catalog.revision()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert catalog.revision() == 0
    catalog.close()


def test_what_the_environment_tells_the_server_holds_beside_our_limits(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = "SELECT current_setting('search_path'), current_setting('statement_timeout')"
    for options, in_url, expected in (
        ("-c search_path=elsewhere", "", ("elsewhere", "10s")),
        ("-c statement_timeout=2h -c search_path=elsewhere", "", ("elsewhere", "2h")),
        ("-c search_path=elsewhere", "?options=-c%20search_path%3Dhere", ("here", "10s")),
    ):
        monkeypatch.setenv("PGOPTIONS", options)
        database = Database(url + in_url)
        with database.reading() as connection:
            assert tuple(connection.execute(text(shown)).one()) == expected
            driver = cast("BoundedConnection", connection.connection.dbapi_connection)
            assert driver.answer_timeout_s == (7202.0 if "2h" in options else 12.0)
        database.close()


# A server that goes away


def test_connections_that_a_restart_broke_are_replaced_unseen(postgres_server: PostgresServer, url: str) -> None:
    catalog = Catalog(url)
    for end in (postgres_server.stop, postgres_server.kill):
        catalog.register(make_version("triage", end.__name__))
        end()
        try:
            assert seconds_to_fail(catalog.revision) < LATER_S
            assert seconds_to_fail(lambda: catalog.register(make_version("triage", "lost"))) < LATER_S
        finally:
            postgres_server.start()
        assert make_version("triage", end.__name__).name in catalog.snapshot().versions
    assert catalog.revision() == 2
    catalog.close()


def test_a_server_that_hangs_fails_every_caller_in_time_and_is_used_again(
    postgres_server: PostgresServer, catalog: Catalog
) -> None:
    catalog.register(make_version("triage", "one"))
    postgres_server.pause()
    try:
        with ThreadPoolExecutor(2 * WRITERS) as threads:
            calls = [catalog.snapshot, lambda: catalog.pin(make_version("triage", "one").name, "ada")] * WRITERS
            first = list(threads.map(seconds_to_fail, calls))
        later = seconds_to_fail(catalog.snapshot)
    finally:
        postgres_server.resume()
    assert max(first) < FIRST_S
    assert later < LATER_S
    assert catalog.revision() == 1
    catalog.pin(make_version("triage", "one").name, "ada")
    assert catalog.revision() == 2


def test_what_was_not_acknowledged_when_the_server_hung_happens_once_or_not_at_all(
    postgres_server: PostgresServer, catalog: Catalog
) -> None:
    version = make_version("triage", "one")

    def change_while_it_hangs() -> None:
        with catalog.changing() as change:
            change.connection.execute(insert(tables.versions).values(version_values(version)))
            postgres_server.pause()
            change.log("ada", "add", "triage", version.name)

    with pytest.raises(CatalogUnavailable):
        change_while_it_hangs()
    postgres_server.resume()
    assert catalog.snapshot().versions == {}
    assert catalog.register(version)
    assert catalog.revision() == 1


def test_a_writer_that_hangs_gives_up_its_turn(postgres_server: PostgresServer, url: str) -> None:
    stuck = Catalog(url + "?options=-c%20idle_in_transaction_session_timeout%3D200")
    other = Catalog(url)

    def hang() -> None:
        with stuck.changing() as change:
            assert other.register(make_version("triage", "one"))
            change.log("ada", "add", "triage", None)

    with pytest.raises(CatalogUnavailable):
        hang()
    assert [event.actor for event in other.history()] == ["system"]
    stuck.close()
    other.close()


def waits_for_a_lock(server: PostgresServer, url: str) -> bool:
    with server.connect(make_url(url).database or "") as connection:
        return connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (1,)


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not there():
        assert time.monotonic() < deadline


# Several writers


def at_once(work: Callable[[int], object]) -> None:
    """Run it in several threads that begin together; an error in one of them is raised here."""
    begin = threading.Barrier(WRITERS)

    def run(number: int) -> None:
        begin.wait(10)
        work(number)

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(run, range(WRITERS)))


def test_two_control_planes_give_each_job_and_each_file_a_place_of_its_own(state_url: str) -> None:
    def work(number: int) -> None:
        jobs_database = Database(state_url, serving.jobs.tables.SCHEMA)
        files_database = Database(state_url, serving.knowledge.tables.SCHEMA)
        jobs_database.migrate()
        files_database.migrate()
        jobs, files = Jobs(jobs_database), Files(files_database)
        for index in range(8):
            jobs.add(a_job(f"ftjob-{number}-{index}"), [NewEvent("created", 1.0)])
            files.add(FileRecord(f"file-{number}-{index}", 0, "a.txt", 1, "d", "assistants", "ops", 0, None))
        jobs_database.close()
        files_database.close()

    at_once(work)
    jobs_database = Database(state_url, serving.jobs.tables.SCHEMA)
    found = Jobs(jobs_database).page(owner=None, after=None, limit=100)
    assert sorted(job.serial for job in found) == list(range(1, 8 * WRITERS + 1))
    jobs_database.close()
    files_database = Database(state_url, serving.knowledge.tables.SCHEMA)
    page = Files(files_database).page(after=None, ascending=True, limit=100, purpose=None)
    assert [file.serial for file in page] == list(range(1, 8 * WRITERS + 1))
    files_database.close()


def test_one_of_several_processes_gets_the_lease_and_the_budget_is_never_overspent(state_url: str) -> None:
    database = Database(state_url, serving.observing.tables.SCHEMA)
    database.migrate()
    claimed: list[bool] = []
    granted: list[int] = []

    def work(number: int) -> None:
        records = MonitoringRecords(database, f"r{number}:1")
        claimed.append(records.claim(60))
        granted.extend(records.spend("triage", 3, 10) for _ in range(5))
        records.add_batch("[1]")
        if claimed[-1]:
            records.save({StateKey("drift", "triage"): "{}"})

    at_once(work)
    assert sum(claimed) == 1
    assert sum(granted) == 10
    assert len(MonitoringRecords(database, "x").new_batches((), 100)) == WRITERS
    database.close()


def test_judgments_replica_reports_and_rollouts_of_many_replicas_all_count(state_url: str) -> None:
    catalog = Catalog(state_url)
    catalog.migrate()
    old, new = make_version("triage", "old"), make_version("triage", "new")
    for version in (old, new):
        catalog.register(version)
    catalog.promote("triage", old.name, "ada")
    rollout = RolloutRecords(catalog).begin("triage", new.name, old.name, Phase.CANARY, {}, actor="ada").id
    shared = SignalRecords(catalog, "r0:1")
    answers = [
        AnsweredRequest(f"a-{n}", f"r-{n}", "bob", "t", "triage", new.name, "canary", rollout, datetime.now(UTC))
        for n in range(8 * WRITERS)
    ]
    shared.append(answers)

    def work(number: int) -> None:
        for index in range(8):
            assert shared.judge(f"r-{8 * number + index}", "bob", 0.0, None) is not None
            catalog.report(ReplicaReport("one-name", index, True, ()))

    at_once(work)
    assert shared.totals(rollout)["canary"].signals["feedback"] == [8 * WRITERS, 8 * WRITERS]
    assert len(catalog.replicas(60)) == 1
    catalog.close()


def test_a_checkpoint_told_twice_at_once_is_one(state_url: str) -> None:
    database = Database(state_url, serving.jobs.tables.SCHEMA)
    database.migrate()
    jobs = Jobs(database)
    jobs.add(a_job("ftjob-1"), [])
    news = News(checkpoints=(NewCheckpoint(1, "checkpoints/step-1", {}, 1.0),), read_to=1)
    at_once(lambda _: jobs.absorb("ftjob-1", news))
    assert len(jobs.checkpoints("ftjob-1", after=None, limit=9)) == 1
    database.close()


def test_a_reader_sees_one_moment_while_others_write(state_url: str) -> None:
    catalog, other = Catalog(state_url), Catalog(state_url)
    catalog.migrate()
    with catalog.database.reading() as connection:
        before = connection.execute(select(tables.state.c.revision)).scalar_one()
        other.register(make_version("triage", "one"))
        assert connection.execute(select(tables.versions.c.name)).all() == []
        assert connection.execute(select(tables.state.c.revision)).scalar_one() == before
    assert catalog.revision() == before + 1
    catalog.close()
    other.close()


def test_a_connection_in_use_while_its_database_is_closed_is_closed_after(state_url: str) -> None:
    catalog = Catalog(state_url)
    catalog.migrate()
    with catalog.database.reading() as connection:
        driver = connection.connection.dbapi_connection
        catalog.close()
        assert connection.execute(select(tables.state.c.revision)).scalar_one() == 0
    assert driver is not None
    with pytest.raises(Exception, match="closed"):
        driver.cursor()
