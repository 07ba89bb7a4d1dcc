"""Reports of versions and automatic rollouts, in the catalog's database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from adapters import tables
from adapters.catalog import Catalog
from adapters.catalog_change import Change
from adapters.errors import RolloutConflict
from adapters.rollout_types import Phase, Report, Rollout

_KEPT_REPORTS = 200
"""Reports of one version that are read at most."""


class RolloutRecords:
    """Thread-safe, blocking. Every method may raise CatalogUnavailable."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    # Reports

    def add_report(self, report: Report) -> Report:
        """Attach a report to a version; its time and number are set here. Raises VersionNotFound."""
        with self._catalog.changing() as change:
            change.version(report.version)
            return self._insert(change, report)

    def reports(self, version: str) -> list[Report]:
        """Everything that was reported of a version, newest first."""
        columns = tables.reports.c
        query = select(tables.reports).where(columns.version == version).order_by(columns.id.desc())
        with self._catalog.database.reading() as connection:
            return [_report(row) for row in connection.execute(query.limit(_KEPT_REPORTS))]

    # Automatic rollouts

    def begin(
        self, alias: str, candidate: str, stable: str | None, phase: Phase, policy: Mapping[str, Any], *, actor: str
    ) -> Rollout:
        """Record that an automatic rollout begins.

        Raises:
            VersionNotFound: no such version.
            RolloutConflict: the version belongs to another adapter, the alias's stable version has changed, or another
                automatic rollout of the alias is in progress.
        """
        with self._catalog.changing() as change:
            change.version_for(alias, candidate)
            found = change.find_alias(alias)
            if (found.stable if found is not None else None) != stable:
                raise RolloutConflict(f"the stable version of {alias} has changed; look again.")
            going_on = select(tables.rollouts.c.candidate).where(
                tables.rollouts.c.alias == alias, tables.rollouts.c.ended_at.is_(None)
            )
            if (other := change.connection.execute(going_on).scalar()) is not None:
                raise RolloutConflict(
                    f"an automatic rollout of {other} is in progress; end it with `loraplex adapters rollout {alias} "
                    "--stop`, or wait."
                )
            values = {
                "alias": alias,
                "candidate": candidate,
                "stable": stable,
                "phase": phase.value,
                "share": 0.0,
                "policy": dict(policy),
                "state": {},
                "reason": "",
                "actor": actor,
                "generation": 0,
                "started_at": change.now,
                "updated_at": change.now,
            }
            key = change.connection.execute(insert(tables.rollouts).values(values)).inserted_primary_key
            against = f"against {stable}" if stable else "the first version"
            change.log(actor, "rollout", alias, candidate, f"begins: {phase.value}, {against}")
        return self.rollout(int(key[0]) if key is not None else 0)

    def rollout(self, number: int) -> Rollout:
        """An automatic rollout by its number. Raises RolloutConflict where there is none."""
        with self._catalog.database.reading() as connection:
            row = connection.execute(select(tables.rollouts).where(tables.rollouts.c.id == number)).first()
        if row is None:
            raise RolloutConflict(f"there is no automatic rollout {number}.")
        return _rollout(row)

    def active(self) -> list[Rollout]:
        """Every automatic rollout in progress, oldest first."""
        query = select(tables.rollouts).where(tables.rollouts.c.ended_at.is_(None)).order_by(tables.rollouts.c.id)
        with self._catalog.database.reading() as connection:
            return [_rollout(row) for row in connection.execute(query)]

    def last(self, alias: str, limit: int = 1) -> list[Rollout]:
        """The last automatic rollouts of an alias, newest first."""
        columns = tables.rollouts.c
        query = select(tables.rollouts).where(columns.alias == alias).order_by(columns.id.desc()).limit(limit)
        with self._catalog.database.reading() as connection:
            return [_rollout(row) for row in connection.execute(query)]

    def save(
        self, rollout: Rollout, *, reports: Sequence[Report] = (), event: str | None = None, actor: str = "system"
    ) -> Rollout:
        """Write phase, share, state and reason; the rollout ends with the phase. Returns what is stored now.

        Replicas are told, by a new revision of the catalog, where phase or share have changed.

        Args:
            reports: attached to the candidate together with it.
            event: an action for the history, by ``actor``, with the rollout's reason.

        Raises:
            RolloutConflict: somebody else has written since ``rollout`` was read.
        """
        with self._catalog.database.reading() as connection:
            row = connection.execute(select(tables.rollouts).where(tables.rollouts.c.id == rollout.id)).first()
        told = row is not None and (row.phase, row.share) == (rollout.phase.value, rollout.share)
        if told and not reports and event is None:
            return self._save_quietly(rollout)
        with self._catalog.changing() as change:
            self._write(change, rollout)
            for report in reports:
                self._insert(change, report)
            if event is not None:
                change.log(actor, event, rollout.alias, rollout.candidate, rollout.reason)
        return self.rollout(rollout.id)

    def _save_quietly(self, rollout: Rollout) -> Rollout:
        with self._catalog.database.writing() as connection:
            change = Change()
            change.begin(connection, self._catalog.now(connection))
            self._write(change, rollout)
        return self.rollout(rollout.id)

    def _write(self, change: Change, rollout: Rollout) -> None:
        columns = tables.rollouts.c
        written = change.connection.execute(
            update(tables.rollouts)
            .where(columns.id == rollout.id, columns.generation == rollout.generation, columns.ended_at.is_(None))
            .values(
                phase=rollout.phase.value,
                share=rollout.share,
                state=dict(rollout.state),
                reason=rollout.reason,
                generation=rollout.generation + 1,
                updated_at=change.now,
                ended_at=change.now if rollout.phase.ended else None,
            )
        )
        if written.rowcount == 0:
            raise RolloutConflict(f"the automatic rollout of {rollout.candidate} was changed by somebody else.")

    def _insert(self, change: Change, report: Report) -> Report:
        values: dict[str, Any] = {
            "at": change.now,
            "version": report.version,
            "kind": report.kind,
            "verdict": report.verdict,
            "summary": report.summary,
            "body": dict(report.body),
            "actor": report.actor,
        }
        change.connection.execute(insert(tables.reports).values(values))
        number = change.connection.execute(select(func.max(tables.reports.c.id))).scalar_one()
        return Report(**values | {"id": number})


def _report(row: Row[Any]) -> Report:
    return Report(**row._mapping)  # noqa: SLF001  (SQLAlchemy's documented accessor)


def _rollout(row: Row[Any]) -> Rollout:
    return Rollout(**dict(row._mapping) | {"phase": Phase(row.phase)})  # noqa: SLF001
