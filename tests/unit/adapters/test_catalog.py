"""The catalog: what each change does, what it refuses, and what history says of it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.catalog import Catalog
from adapters.errors import AliasNotFound, CatalogUnavailable, RolloutConflict, VersionNotFound
from adapters.types import Alias, Holding, HoldingStatus, ReplicaReport, Tier
from tests.adapter_factory import make_version

V1, V2, V3 = (make_version("triage", content) for content in ("one", "two", "three"))
OTHER = make_version("other", "one")


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(state_url: str) -> str:
    return state_url


@pytest.fixture
def catalog(url: str, clock: Clock) -> Iterator[Catalog]:
    catalog = Catalog(url, clock=clock)
    catalog.migrate()
    for version in (V1, V2, V3, OTHER):
        catalog.register(version, "ada")
    yield catalog
    catalog.close()


def alias(catalog: Catalog, name: str = "triage") -> Alias:
    return catalog.snapshot().aliases[name]


def test_a_version_survives_the_round_trip(catalog: Catalog, url: str) -> None:
    again = Catalog(url)
    assert again.snapshot().versions[V1.name] == V1
    again.close()


def test_registering_the_same_content_twice_changes_nothing(catalog: Catalog) -> None:
    before = catalog.revision()
    assert not catalog.register(V1, "bob")
    assert catalog.revision() == before


def test_two_contents_with_one_name_are_refused(catalog: Catalog) -> None:
    twin = make_version("triage", "twin", name=V1.name)
    with pytest.raises(RolloutConflict, match="already names other content"):
        catalog.register(twin)


def test_the_first_promotion_makes_the_alias(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    assert alias(catalog) == Alias("triage", stable=V1.name)


def test_promoting_remembers_what_was_stable(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.promote("triage", V2.name, "ada")
    assert alias(catalog) == Alias("triage", stable=V2.name, previous=V1.name)


def test_promoting_the_stable_version_again_changes_nothing(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    revision, events = catalog.revision(), catalog.history()
    catalog.promote("triage", V1.name, "ada")
    assert (catalog.revision(), catalog.history()) == (revision, events)


def test_promoting_the_canary_ends_it(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.set_canary("triage", V2.name, 0.25, "ada")
    assert (alias(catalog).canary, alias(catalog).canary_share) == (V2.name, 0.25)
    catalog.promote("triage", V2.name, "ada")
    assert alias(catalog) == Alias("triage", stable=V2.name, previous=V1.name)


def test_promoting_the_shadow_ends_it_and_leaves_a_canary_of_another_version(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.set_shadow("triage", V2.name, "ada")
    catalog.set_canary("triage", V3.name, 0.5, "ada")
    catalog.promote("triage", V2.name, "ada")
    assert alias(catalog).shadow is None
    assert alias(catalog).canary == V3.name


def test_rolling_back_drops_the_canary_first_then_returns_to_the_previous_version(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.promote("triage", V2.name, "ada")
    catalog.set_canary("triage", V3.name, 0.5, "ada")
    assert catalog.rollback("triage", "ada") == V2.name
    assert alias(catalog).canary is None
    assert catalog.rollback("triage", "ada") == V1.name
    assert alias(catalog).previous == V2.name
    assert catalog.rollback("triage", "ada") == V2.name


def test_there_is_nothing_to_roll_back_after_the_first_promotion(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    with pytest.raises(RolloutConflict, match="no previous version"):
        catalog.rollback("triage", "ada")


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_a_canary_needs_a_share_that_is_one(catalog: Catalog, share: float) -> None:
    catalog.promote("triage", V1.name, "ada")
    with pytest.raises(RolloutConflict, match="above 0 and at most 1"):
        catalog.set_canary("triage", V2.name, share, "ada")


def test_ending_the_canary_and_the_shadow(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.set_canary("triage", V2.name, 0.5, "ada")
    catalog.set_shadow("triage", V3.name, "ada")
    catalog.end_canary("triage", "ada")
    catalog.set_shadow("triage", None, "ada")
    assert alias(catalog) == Alias("triage", stable=V1.name)
    with pytest.raises(RolloutConflict, match="no canary"):
        catalog.end_canary("triage", "ada")


REFUSED: list[tuple[str, Callable[[Catalog], object], type[Exception]]] = [
    ("promote_unknown", lambda c: c.promote("triage", "triage@00000000", "ada"), VersionNotFound),
    ("promote_foreign", lambda c: c.promote("triage", OTHER.name, "ada"), RolloutConflict),
    ("canary_no_alias", lambda c: c.set_canary("none", V1.name, 0.5, "ada"), AliasNotFound),
    ("canary_is_stable", lambda c: c.set_canary("triage", V1.name, 0.5, "ada"), RolloutConflict),
    ("canary_foreign", lambda c: c.set_canary("triage", OTHER.name, 0.5, "ada"), RolloutConflict),
    ("canary_unknown", lambda c: c.set_canary("triage", "triage@00000000", 0.5, "ada"), VersionNotFound),
    ("shadow_is_stable", lambda c: c.set_shadow("triage", V1.name, "ada"), RolloutConflict),
    ("shadow_no_alias", lambda c: c.set_shadow("none", V1.name, "ada"), AliasNotFound),
    ("rollback_no_alias", lambda c: c.rollback("none", "ada"), AliasNotFound),
    ("end_canary_no_alias", lambda c: c.end_canary("none", "ada"), AliasNotFound),
    ("pin_unknown", lambda c: c.pin("triage@00000000", "ada"), VersionNotFound),
    ("unpin_unknown", lambda c: c.unpin("triage@00000000", "ada"), VersionNotFound),
    ("stage_unknown", lambda c: c.stage("triage@00000000"), VersionNotFound),
    ("remove_unknown", lambda c: c.remove("triage@00000000", "ada"), VersionNotFound),
    ("remove_alias_unknown", lambda c: c.remove_alias("none", "ada"), AliasNotFound),
]


@pytest.mark.parametrize(("change", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_refused_change_leaves_no_trace(
    catalog: Catalog, change: Callable[[Catalog], object], error: type[Exception]
) -> None:
    catalog.promote("triage", V1.name, "ada")
    snapshot, events = catalog.snapshot(), catalog.history()
    with pytest.raises(error):
        change(catalog)
    assert catalog.snapshot() is snapshot
    assert catalog.history() == events


def test_a_version_in_use_cannot_be_removed(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.set_canary("triage", V2.name, 0.5, "ada")
    catalog.set_shadow("triage", V3.name, "ada")
    catalog.pin(OTHER.name, "ada")
    for version, why in ((V1, "stable"), (V2, "canary"), (V3, "shadow"), (OTHER, "pinned")):
        with pytest.raises(RolloutConflict, match=why):
            catalog.remove(version.name, "ada")
    catalog.unpin(OTHER.name, "ada")
    catalog.stage(OTHER.name)
    with pytest.raises(RolloutConflict, match="rollout"):
        catalog.remove(OTHER.name, "ada")


def test_removing_what_an_alias_would_roll_back_to_ends_that_possibility(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.promote("triage", V2.name, "ada")
    catalog.remove(V1.name, "ada")
    assert V1.name not in catalog.snapshot().versions
    with pytest.raises(RolloutConflict, match="no previous version"):
        catalog.rollback("triage", "ada")
    assert "roll back" in catalog.history(limit=1)[0].detail


def test_removing_an_alias_frees_its_versions(catalog: Catalog) -> None:
    catalog.promote("triage", V1.name, "ada")
    catalog.remove_alias("triage", "ada")
    assert not catalog.snapshot().aliases
    catalog.remove(V1.name, "ada")


def test_a_version_removed_and_added_again_is_read_again(catalog: Catalog) -> None:
    catalog.snapshot()
    catalog.remove(V3.name, "ada")
    later = make_version("triage", "three", created_at=V3.created_at + timedelta(days=1), source="elsewhere")
    catalog.register(later)
    assert catalog.snapshot().versions[V3.name].source == "elsewhere"


def test_pins_and_staged_versions_show_in_the_snapshot(catalog: Catalog) -> None:
    catalog.pin(V1.name, "ada")
    catalog.pin(V1.name, "ada")
    catalog.stage(V2.name)
    assert catalog.snapshot().pins == {V1.name}
    assert catalog.snapshot().staged == {V2.name}
    catalog.unpin(V1.name, "ada")
    catalog.unstage(V2.name)
    catalog.unstage(V2.name)
    assert not catalog.snapshot().pins
    assert not catalog.snapshot().staged


def test_every_event_says_who_and_when(catalog: Catalog, clock: Clock) -> None:
    clock.now += timedelta(hours=1)
    catalog.promote("triage", V1.name, "bob")
    event = catalog.history("triage", limit=1)[0]
    assert (event.actor, event.at, event.action, event.version) == ("bob", clock.now, "promote", V1.name)
    assert [event.action for event in catalog.history("other")] == ["add"]
    assert [event.alias for event in catalog.history(limit=2)] == ["triage", "other"]


def test_the_snapshot_is_the_same_object_until_the_revision_moves(catalog: Catalog) -> None:
    first = catalog.snapshot()
    assert catalog.snapshot() is first
    catalog.promote("triage", V1.name, "ada")
    second = catalog.snapshot()
    assert second.revision == first.revision + 1
    assert second.versions is first.versions, "versions that did not change are not read again"


def test_a_snapshot_cannot_be_changed(catalog: Catalog) -> None:
    with pytest.raises(TypeError):
        catalog.snapshot().versions["x"] = V1  # type: ignore[index]


def test_reports_do_not_move_the_revision(catalog: Catalog, clock: Clock) -> None:
    before = catalog.revision()
    holding = Holding(V1.name, HoldingStatus.FAILED, Tier.DISK, error="no", error_code="rank_too_large", in_flight=2)
    report = ReplicaReport("r1", revision=3, ready=True, holdings=(holding,), address="127.0.0.1:1")
    catalog.report(report)
    catalog.report(report)
    (found,) = catalog.replicas(5)
    assert found == ReplicaReport("r1", 3, True, (holding,), "127.0.0.1:1", reported_at=clock.now)
    assert catalog.revision() == before


def test_a_silent_replica_is_not_listed(catalog: Catalog, clock: Clock) -> None:
    catalog.report(ReplicaReport("old", 1, True, ()))
    clock.now += timedelta(seconds=6)
    catalog.report(ReplicaReport("new", 1, True, ()))
    assert [report.replica for report in catalog.replicas(5)] == ["new"]
    catalog.forget("new")
    assert catalog.replicas(5) == []


def test_threads_share_one_catalog(catalog: Catalog) -> None:
    versions = [make_version("threads", str(number)) for number in range(24)]

    def work(mine: int) -> None:
        for version in versions[mine::4]:
            catalog.register(version)
            catalog.promote("threads", version.name, f"thread-{mine}")
            catalog.snapshot()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(catalog.history("threads", limit=100)) == 48
    assert {version.name for version in versions} <= catalog.snapshot().versions.keys()


def test_a_database_without_a_catalog_says_so(empty_state_url: str) -> None:
    catalog = Catalog(empty_state_url)
    with pytest.raises(CatalogUnavailable, match="has no tables yet"):
        catalog.snapshot()
    catalog.close()


def test_the_folder_of_an_embedded_database_is_made(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/deep/state.db")
    catalog.migrate()
    assert catalog.revision() == 0
    catalog.close()


def test_a_schema_of_the_future_is_left_alone(catalog: Catalog) -> None:
    with catalog.database.writing() as connection:
        connection.execute(text("UPDATE catalog_schema SET version_num = '9999'"))
    with pytest.raises(CatalogUnavailable, match="newer than the schema"):
        catalog.migrate()


def test_migrating_twice_keeps_everything(catalog: Catalog) -> None:
    before = catalog.snapshot()
    catalog.migrate()
    assert catalog.snapshot() is before


def test_threads_may_migrate_databases_at_once(tmp_path: Path) -> None:
    def migrated(number: int) -> int:
        catalog = Catalog(f"sqlite:///{tmp_path}/{number}.db")
        catalog.migrate()
        revision = catalog.revision()
        catalog.close()
        return revision

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(migrated, range(8))) == [0] * 8


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("certainly not a database, but long enough to look like a file")
    catalog = Catalog(f"sqlite:///{tmp_path}/state.db")
    with pytest.raises(CatalogUnavailable, match="cannot be used: file is not a database"):
        catalog.migrate()
    catalog.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("mysql://somewhere/db", "only sqlite and postgresql"),
        ("postgresql+psycopg2://somewhere/db", r"only psycopg can be used; write `postgresql://…`"),
        ("not a url", "not a database URL"),
    ],
)
def test_a_url_that_cannot_hold_a_catalog_is_refused(url: str, problem: str) -> None:
    with pytest.raises(CatalogUnavailable, match=problem):
        Catalog(url)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg")
    catalog = Catalog("postgresql://ada:secret@127.0.0.1:1/loraplex?connect_timeout=1")
    with pytest.raises(CatalogUnavailable) as refused:
        catalog.revision()
    assert "secret" not in str(refused.value)
    catalog.close()
