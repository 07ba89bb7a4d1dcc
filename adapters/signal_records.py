"""What replicas count of watched requests, and the ledger of answers that callers may judge."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from adapters import tables
from adapters.catalog import Catalog
from adapters.rollout_types import AnsweredRequest, RoleCounts

FEEDBACK = "feedback"
"""The signal that counts callers' judgments."""
BAD_BELOW = 0.5
"""A score under this one counts as bad."""

_LEDGER = tuple(column for column in tables.requests.c if column.name not in ("id", "judged_at"))


class SignalRecords:
    """Thread-safe, blocking. Every method may raise CatalogUnavailable.

    Args:
        source: names this process and no other, ever: what it counts replaces what it counted before.
    """

    def __init__(self, catalog: Catalog, source: str) -> None:
        self._catalog = catalog
        self._source = source

    # Counts

    def write(self, counts: Mapping[tuple[int, str], Mapping[str, Any]]) -> None:
        """Replace this process's counts, by rollout and role. Writing the same twice does no harm."""
        with self._catalog.database.writing() as connection:
            for (rollout, role), values in counts.items():
                self._put(connection, self._source, rollout, role, values)

    def totals(self, rollout: int) -> dict[str, RoleCounts]:
        """What all processes together counted for a rollout, by role."""
        columns = tables.signals.c
        found: dict[str, RoleCounts] = {}
        with self._catalog.database.reading() as connection:
            query = select(columns.role, columns.counts).where(columns.rollout == rollout)
            for role, counts in connection.execute(query):
                found.setdefault(role, RoleCounts()).add(RoleCounts.from_json(counts))
        return found

    def prune_counts(self) -> None:
        """Drop the counts of rollouts that have ended."""
        going_on = select(tables.rollouts.c.id).where(tables.rollouts.c.ended_at.is_(None))
        with self._catalog.database.writing() as connection:
            connection.execute(delete(tables.signals).where(tables.signals.c.rollout.not_in(going_on)))

    # The ledger

    def append(self, answers: Sequence[AnsweredRequest]) -> None:
        """Remember answers."""
        rows = [{column.name: getattr(answer, column.name) for column in _LEDGER} for answer in answers]
        with self._catalog.database.writing() as connection:
            connection.execute(insert(tables.requests), rows)

    def judge(self, id: str, caller: str | None, score: float, comment: str | None) -> AnsweredRequest | None:  # noqa: A002
        """Record what a caller thinks of an answer; a later judgment replaces it. None where no answer is found.

        Only the first judgment of an answer counts for a rollout in progress: a test that has used it cannot take it
        back.

        Args:
            id: of the answer, or of the request.
            caller: whose answer it must be; None for anybody's.
            score: in [0, 1].
        """
        columns = tables.requests.c
        query = select(tables.requests).where(or_(columns.response_id == id, columns.request_id == id))
        if caller is not None:
            query = query.where(columns.caller == caller)
        with self._catalog.database.writing() as connection:
            row = connection.execute(query.order_by(columns.id.desc()).limit(1).with_for_update()).first()
            if row is None:
                return None
            now = self._catalog.now(connection)
            connection.execute(
                update(tables.requests).where(columns.id == row.id).values(score=score, comment=comment, judged_at=now)
            )
            if row.score is None and row.rollout is not None:
                self._count(connection, row.rollout, row.role, bad=score < BAD_BELOW)
        return _answer(row, score, comment)

    def prune_ledger(self, keep_days: float, keep_requests: int) -> None:
        """Forget answers that are too old or too many."""
        columns = tables.requests.c
        with self._catalog.database.writing() as connection:
            since = self._catalog.now(connection) - timedelta(days=keep_days)
            last = connection.execute(select(func.max(columns.id))).scalar() or 0
            connection.execute(
                delete(tables.requests).where(or_(columns.at < since, columns.id <= last - keep_requests))
            )

    def _count(self, connection: Connection, rollout: int, role: str, *, bad: bool) -> None:
        source = f"{self._source}/{FEEDBACK}"
        columns = tables.signals.c
        known = connection.execute(
            select(columns.counts).where(columns.source == source, columns.rollout == rollout, columns.role == role)
        ).scalar()
        counts = RoleCounts() if known is None else RoleCounts.from_json(known)
        counts.note(FEEDBACK, bad=bad)
        self._put(connection, source, rollout, role, counts.to_json())

    def _put(self, connection: Connection, source: str, rollout: int, role: str, counts: Mapping[str, Any]) -> None:
        columns = tables.signals.c
        place = (columns.source == source, columns.rollout == rollout, columns.role == role)
        changed = connection.execute(update(tables.signals).where(*place).values(counts=dict(counts)))
        if changed.rowcount == 0:
            row = {"source": source, "rollout": rollout, "role": role, "counts": dict(counts)}
            connection.execute(insert(tables.signals).values(row))


def _answer(row: Row[Any], score: float, comment: str | None) -> AnsweredRequest:
    values = {column.name: getattr(row, column.name) for column in _LEDGER}
    return AnsweredRequest(**values | {"score": score, "comment": comment})
