"""``Catalog``: the desired state of all adapters, in one SQL database that every replica follows.

Every change and the bump of the one ``revision`` counter commit together, so a reader that sees a revision sees all
of it. Changes are made inside the transaction, on the rows as they are then, never on a copy read before: concurrent
writers lose nothing.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from adapters import catalog_rows as rows
from adapters import tables
from adapters.catalog_change import Change, NothingToDo
from adapters.database import Database
from adapters.errors import RolloutConflict
from adapters.rollout_types import Phase, RolloutMark
from adapters.types import AdapterEvent, AdapterVersion, Alias, CatalogSnapshot, ReplicaReport

_BATCH = 500
"""Names in one query: databases limit the parameters of a statement."""

_EMPTY = CatalogSnapshot(revision=-1, versions=MappingProxyType({}), aliases=MappingProxyType({}))


class Catalog:
    """Versions, aliases, pins, staged versions, history and replica reports. Thread-safe; processes may share one.

    Every method may raise CatalogUnavailable. A change that leaves things as they are is accepted, and neither bumps
    the revision nor writes an event.

    Args:
        url: SQLAlchemy URL; see :class:`adapters.database.Database`.
        clock: the time, in UTC, that events and reports get. By default the machine's; where several machines share
            the database it is the database's, so that ages compare.
    """

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None) -> None:
        self._database = Database(url)
        self._clock = clock
        self._cached = _EMPTY
        self._cache_lock = threading.Lock()

    @property
    def database(self) -> Database:
        """Where the rows are: for the records of this library that stand beside the catalog."""
        return self._database

    def migrate(self) -> None:
        """Create or upgrade the schema. Raises CatalogUnavailable where it is newer than this code."""
        self._database.migrate()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    # Reading

    def revision(self) -> int:
        """The number of changes so far."""
        with self._database.reading() as connection:
            return _revision(connection)

    def snapshot(self) -> CatalogSnapshot:
        """The desired state now.

        Where the revision has not moved since the last call this costs one row, whatever the number of versions.
        Where it has, versions that were already read are not read again: they never change.
        """
        with self._database.reading() as connection:
            revision = _revision(connection)
            cached = self._cached
            if cached.revision == revision:
                return cached
            snapshot = CatalogSnapshot(
                revision=revision,
                versions=_read_versions(connection, cached.versions),
                aliases=MappingProxyType(
                    {alias.name: alias for alias in map(rows.alias, connection.execute(select(tables.aliases)))}
                ),
                pins=frozenset(connection.scalars(select(tables.pins.c.version))),
                staged=frozenset(connection.scalars(select(tables.staged.c.version))),
                rollouts=_last_rollouts(connection),
            )
        with self._cache_lock:
            if snapshot.revision > self._cached.revision or self._cached is cached:
                self._cached = snapshot
        return snapshot

    def history(self, alias: str | None = None, limit: int = 50) -> list[AdapterEvent]:
        """The last ``limit`` events of one alias, or of all, newest first."""
        query = select(tables.events).order_by(tables.events.c.id.desc()).limit(limit)
        if alias is not None:
            query = query.where(tables.events.c.alias == alias)
        with self._database.reading() as connection:
            return [rows.event(row) for row in connection.execute(query)]

    # Versions

    def register(self, version: AdapterVersion, actor: str = "system") -> bool:
        """Record a version. False if it was known already.

        Raises:
            RolloutConflict: another version has that name (the first digits of two digests agree).
        """
        with self.changing() as change:
            known = change.connection.execute(
                select(tables.versions.c.digest).where(tables.versions.c.name == version.name)
            ).scalar()
            if known == version.digest:
                raise NothingToDo
            if known is not None:
                raise RolloutConflict(f"{version.name} already names other content; give the adapter another name.")
            change.connection.execute(insert(tables.versions).values(rows.version_values(version)))
            change.log(actor, "add", version.adapter, version.name, f"from {version.source}")
        return change.applied

    def remove(self, version: str, actor: str) -> None:
        """Forget a version. An alias that could have rolled back to it no longer can.

        Raises:
            VersionNotFound: no such version.
            RolloutConflict: an alias, a pin or a rollout uses it.
        """
        with self.changing() as change:
            found = change.version(version)
            change.refuse_used(version)
            left = change.connection.execute(
                update(tables.aliases).where(tables.aliases.c.previous == version).values(previous=None)
            )
            change.connection.execute(delete(tables.versions).where(tables.versions.c.name == version))
            detail = "nothing is left to roll back to" if left.rowcount else ""
            change.log(actor, "remove", found.adapter, version, detail)

    def remove_alias(self, alias: str, actor: str) -> None:
        """Take an alias out of service; its versions stay. Raises AliasNotFound."""
        with self.changing() as change:
            before = change.alias(alias)
            change.connection.execute(delete(tables.aliases).where(tables.aliases.c.name == alias))
            change.log(actor, "remove-alias", alias, before.stable)

    # Rollouts

    def promote(self, alias: str, version: str, actor: str, *, reason: str = "", expected: Alias | None = None) -> None:
        """Make ``version`` the stable one; makes the alias if it is new. What was stable becomes ``previous``.

        A canary or shadow of the same version ends; one of another version goes on.

        Args:
            reason: why, for the history.
            expected: what the alias must still be.

        Raises:
            VersionNotFound: no such version.
            RolloutConflict: the version belongs to another adapter, or the alias is not as expected.
        """
        with self.changing() as change:
            change.version_for(alias, version)
            before = change.find_alias(alias) or Alias(alias)
            change.expect(before, expected)
            if before.stable == version:
                raise NothingToDo
            after = replace(before, stable=version, previous=before.stable)
            if before.canary == version:
                after = replace(after, canary=None, canary_share=0.0)
            if before.shadow == version:
                after = replace(after, shadow=None)
            change.save(after)
            was = f"was {before.stable}" if before.stable else "first version"
            change.log(actor, "promote", alias, version, _because(was, reason))

    def set_canary(
        self, alias: str, version: str, share: float, actor: str, *, reason: str = "", expected: Alias | None = None
    ) -> None:
        """Let ``version`` answer ``share`` of the callers, in (0, 1]. ``reason`` and ``expected`` as in promoting.

        Raises:
            AliasNotFound, VersionNotFound: no such alias or version.
            RolloutConflict: the share is out of range, the version belongs to another adapter or is the
                stable one, or the alias is not as expected.
        """
        if not 0 < share <= 1:
            raise RolloutConflict(f"a canary's share must be above 0 and at most 1, not {share:g}.")
        with self.changing() as change:
            before = change.alias(alias, expected)
            change.version_for(alias, version)
            if before.stable == version:
                raise RolloutConflict(f"{version} is already the stable version of {alias}.")
            if (before.canary, before.canary_share) == (version, share):
                raise NothingToDo
            change.save(replace(before, canary=version, canary_share=share))
            change.log(actor, "canary", alias, version, _because(f"share {share:g}", reason))

    def end_canary(self, alias: str, actor: str) -> None:
        """Give all callers back to the stable version. Raises AliasNotFound; RolloutConflict if there is no canary."""
        with self.changing() as change:
            before = change.alias(alias)
            if before.canary is None:
                raise RolloutConflict(f"{alias} has no canary.")
            change.save(replace(before, canary=None, canary_share=0.0))
            change.log(actor, "end-canary", alias, before.canary)

    def set_shadow(
        self, alias: str, version: str | None, actor: str, *, reason: str = "", expected: Alias | None = None
    ) -> None:
        """Send a copy of the traffic to ``version``; None ends it. ``reason`` and ``expected`` as in promoting.

        Raises:
            AliasNotFound, VersionNotFound: no such alias or version.
            RolloutConflict: the version belongs to another adapter or is the stable one.
        """
        with self.changing() as change:
            before = change.alias(alias, expected)
            if version is not None:
                change.version_for(alias, version)
                if before.stable == version:
                    raise RolloutConflict(f"{version} is the stable version of {alias}: a shadow would compare equals.")
            if before.shadow == version:
                raise NothingToDo
            change.save(replace(before, shadow=version))
            change.log(actor, "shadow" if version else "end-shadow", alias, version or before.shadow, reason)

    def rollback(self, alias: str, actor: str, *, reason: str = "", expected: Alias | None = None) -> str:
        """Undo the last step: drop the canary if there is one, else go back to the previous stable version.

        ``reason`` and ``expected`` as in promoting.

        Returns:
            The version that is stable afterwards.

        Raises:
            AliasNotFound: no such alias.
            RolloutConflict: there is nothing to go back to.
        """
        with self.changing() as change:
            before = change.alias(alias, expected)
            if before.canary is not None and before.stable is not None:
                after = replace(before, canary=None, canary_share=0.0)
                change.log(actor, "rollback", alias, before.stable, _because(f"dropped canary {before.canary}", reason))
            elif before.previous is not None:
                after = replace(before, stable=before.previous, previous=before.stable)
                if after.shadow == after.stable:
                    after = replace(after, shadow=None)
                change.log(actor, "rollback", alias, before.previous, _because(f"was {before.stable}", reason))
            else:
                raise RolloutConflict(f"{alias} has no canary and no previous version to go back to.")
            change.save(after)
        assert after.stable is not None  # noqa: S101  (both branches above set it)
        return after.stable

    # Residency

    def pin(self, version: str, actor: str) -> None:
        """Keep a version loaded on every replica. Raises VersionNotFound."""
        self._mark(tables.pins, version, actor, "pin")

    def unpin(self, version: str, actor: str) -> None:
        """Let a version leave when its place is needed. Raises VersionNotFound."""
        self._unmark(tables.pins, version, actor, "unpin")

    def stage(self, version: str, actor: str | None = None) -> None:
        """Have every replica load and probe a version before an alias flips to it. Raises VersionNotFound."""
        self._mark(tables.staged, version, actor, "stage")

    def unstage(self, version: str, actor: str | None = None) -> None:
        """End what ``stage`` began. An unknown version is nothing to end."""
        self._unmark(tables.staged, version, actor, "unstage")

    # Replicas

    def report(self, report: ReplicaReport) -> None:
        """Record what a replica says of itself; ``reported_at`` is set here. Does not bump the revision."""
        with self._database.writing() as connection:
            values = rows.report_values(report) | {"reported_at": self.now(connection)}
            changed = connection.execute(
                update(tables.replicas).where(tables.replicas.c.replica == report.replica).values(values)
            )
            if changed.rowcount == 0:
                connection.execute(insert(tables.replicas).values(values))

    def replicas(self, max_age_s: float) -> list[ReplicaReport]:
        """The last report of every replica that gave one within ``max_age_s`` seconds."""
        with self._database.reading() as connection:
            since = self.now(connection) - timedelta(seconds=max_age_s)
            query = select(tables.replicas).where(tables.replicas.c.reported_at >= since)
            return [rows.report(row) for row in connection.execute(query.order_by(tables.replicas.c.replica))]

    def forget(self, replica: str) -> None:
        """Drop a replica's report, because it stopped."""
        with self._database.writing() as connection:
            connection.execute(delete(tables.replicas).where(tables.replicas.c.replica == replica))

    # Inside

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """One transaction that also bumps the revision; nothing happens where the block raises NothingToDo."""
        change = Change()
        try:
            with self._database.writing() as connection:
                # First of all: this row's lock makes writers take turns.
                connection.execute(update(tables.state).values(revision=tables.state.c.revision + 1))
                change.begin(connection, self.now(connection))
                yield change
        except NothingToDo:
            change.applied = False

    def _mark(self, table: Table, version: str, actor: str | None, action: str) -> None:
        with self.changing() as change:
            found = change.version(version)
            if change.is_marked(table, version):
                raise NothingToDo
            change.connection.execute(insert(table).values(version=version))
            if actor is not None:
                change.log(actor, action, found.adapter, version)

    def _unmark(self, table: Table, version: str, actor: str | None, action: str) -> None:
        with self.changing() as change:
            if not change.is_marked(table, version):
                if actor is not None:
                    change.version(version)
                raise NothingToDo
            change.connection.execute(delete(table).where(table.c.version == version))
            if actor is not None:
                change.log(actor, action, version.partition("@")[0], version)

    def now(self, connection: Connection) -> datetime:
        """The time."""
        if self._clock is not None:
            return self._clock()
        if connection.dialect.name == "sqlite":
            return datetime.now(UTC)
        moment: datetime = connection.execute(select(func.now())).scalar_one()
        return moment


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def _last_rollouts(connection: Connection) -> Mapping[str, RolloutMark]:
    columns = tables.rollouts.c
    last = select(func.max(columns.id)).group_by(columns.alias)
    query = select(columns.id, columns.alias, columns.candidate, columns.stable, columns.phase, columns.share)
    marks = (
        RolloutMark(row.id, row.alias, row.candidate, row.stable, Phase(row.phase), row.share)
        for row in connection.execute(query.where(columns.id.in_(last)))
    )
    return MappingProxyType({mark.alias: mark for mark in marks})


def _revision(connection: Connection) -> int:
    return int(connection.execute(select(tables.state.c.revision)).scalar_one())


def _read_versions(connection: Connection, known: Mapping[str, AdapterVersion]) -> Mapping[str, AdapterVersion]:
    """Every version; those in ``known`` are taken from there."""
    columns = tables.versions.c
    found: dict[str, AdapterVersion] = {}
    missing: list[str] = []
    for name, created_at in connection.execute(select(columns.name, columns.created_at).order_by(columns.name)):
        before = known.get(name)
        if before is not None and before.created_at == created_at:
            found[name] = before
        else:
            missing.append(name)
    if not missing and len(found) == len(known):
        return known
    for start in range(0, len(missing), _BATCH):
        batch = columns.name.in_(missing[start : start + _BATCH])
        for row in connection.execute(select(tables.versions).where(batch)):
            found[row.name] = rows.version(row)
    return MappingProxyType(found)
