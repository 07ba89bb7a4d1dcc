"""Samples of answers that wait to be scored, and their scores."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, and_, delete, func, insert, not_, or_, select

from adapters import tables
from adapters.catalog import Catalog
from adapters.rollout_types import NewScore, Sample, SampleScore
from adapters.types import Role

BUDGET_PERIOD = timedelta(hours=1)
"""How long a score counts against a budget."""

_COLUMNS = tuple(column for column in tables.samples.c if column.name != "id")


class SampleRecords:
    """Thread-safe but for :meth:`settle` and :meth:`add_scores`, blocking. Every method may raise CatalogUnavailable.

    Args:
        source: names this process and no other, ever: its scores are numbered.
    """

    def __init__(self, catalog: Catalog, source: str) -> None:
        self._catalog = catalog
        self._source = source
        self._last = 0

    def add(self, samples: Sequence[Sample]) -> None:
        """Keep samples, and forget those whose time is over."""
        rows = [{column.name: getattr(sample, column.name) for column in _COLUMNS} for sample in samples]
        columns = tables.samples.c
        with self._catalog.database.writing() as connection:
            connection.execute(delete(tables.samples).where(columns.expires_at <= self._catalog.now(connection)))
            connection.execute(insert(tables.samples), rows)

    def waiting(self) -> list[tuple[int, str]]:
        """The rollouts and signals that samples wait for."""
        columns = tables.samples.c
        query = select(columns.rollout, columns.signal).distinct().order_by(columns.rollout, columns.signal)
        with self._catalog.database.reading() as connection:
            return [(row.rollout, row.signal) for row in connection.execute(query)]

    def newest(self, rollout: int, signal: str, limit: int) -> tuple[list[Sample], list[Sample]]:
        """The newest samples of the candidate and of the stable version, ``limit`` of each at most."""
        columns = tables.samples.c
        with self._catalog.database.reading() as connection:
            now = self._catalog.now(connection)
            query = select(tables.samples).where(
                columns.rollout == rollout, columns.signal == signal, columns.expires_at > now
            )
            query = query.order_by(columns.id.desc()).limit(limit)
            is_stable = columns.role == Role.STABLE.value
            candidate, stable = (
                [Sample(**row._mapping) for row in connection.execute(query.where(role))]  # noqa: SLF001
                for role in (not_(is_stable), is_stable)
            )
            return candidate, stable

    def settle(self, scored: Iterable[tuple[Sample, float | None]]) -> int:
        """Delete samples and keep their scores, None for one that could not be scored. How many there still were.

        The score of a sample that somebody else has settled, or that was forgotten, is spent all the same but not kept.
        """
        with self._catalog.database.writing() as connection:
            now = self._catalog.now(connection)
            place, settled = self._last_place(connection), 0
            for sample, value in scored:
                gone = connection.execute(delete(tables.samples).where(tables.samples.c.id == sample.id)).rowcount
                place, settled = place + 1, settled + gone
                row = {"source": self._source, "place": place, "rollout": sample.rollout, "role": sample.role}
                row |= {"signal": sample.signal, "value": value if gone else None, "at": now}
                connection.execute(insert(tables.sample_scores).values(row))
        self._last = place
        return settled

    def add_scores(self, scores: Sequence[NewScore]) -> None:
        """Keep scores of answers of which no sample was kept."""
        with self._catalog.database.writing() as connection:
            now = self._catalog.now(connection)
            place = self._last_place(connection)
            for score in scores:
                place += 1
                row = {"source": self._source, "place": place, "rollout": score.rollout, "role": score.role}
                row |= {"signal": score.signal, "value": score.value, "at": now}
                connection.execute(insert(tables.sample_scores).values(row))
        self._last = place

    def drop(self, rollout: int, signal: str | None = None) -> None:
        """Forget the samples of a rollout that wait for ``signal``; for None those that wait for any."""
        columns = tables.samples.c
        mine = (
            columns.rollout == rollout if signal is None else and_(columns.rollout == rollout, columns.signal == signal)
        )
        with self._catalog.database.writing() as connection:
            connection.execute(delete(tables.samples).where(mine))

    def drop_all(self) -> None:
        """Forget every sample."""
        with self._catalog.database.writing() as connection:
            connection.execute(delete(tables.samples))

    def prune(self) -> None:
        """Forget samples whose time is over or whose rollout has ended, and scores that nobody will ask for."""
        going_on = select(tables.rollouts.c.id).where(tables.rollouts.c.ended_at.is_(None))
        samples, scores = tables.samples.c, tables.sample_scores.c
        with self._catalog.database.writing() as connection:
            now = self._catalog.now(connection)
            over = or_(samples.expires_at <= now, samples.rollout.not_in(going_on))
            connection.execute(delete(tables.samples).where(over))
            old = and_(scores.at <= now - BUDGET_PERIOD, scores.rollout.not_in(going_on))
            connection.execute(delete(tables.sample_scores).where(old))

    def spent(self, alias: str, signal: str) -> int:
        """How many samples of an alias's rollouts a signal has settled within the last hour, scored or not."""
        columns = tables.sample_scores.c
        rollouts = select(tables.rollouts.c.id).where(tables.rollouts.c.alias == alias)
        with self._catalog.database.reading() as connection:
            since = self._catalog.now(connection) - BUDGET_PERIOD
            query = (
                select(func.count())
                .select_from(tables.sample_scores)
                .where(columns.signal == signal, columns.at > since, columns.rollout.in_(rollouts))
            )
            return int(connection.execute(query).scalar_one())

    def scores(self, rollout: int, seen: Mapping[str, int]) -> list[SampleScore]:
        """The scores of a rollout beyond the places ``seen`` of each source, in their order."""
        columns = tables.sample_scores.c
        new = [or_(columns.source != source, columns.place > place) for source, place in seen.items()]
        query = select(columns.source, columns.place, columns.role, columns.signal, columns.value).where(
            columns.rollout == rollout, columns.value.is_not(None), *new
        )
        with self._catalog.database.reading() as connection:
            rows = connection.execute(query.order_by(columns.source, columns.place))
            return [SampleScore(**row._mapping) for row in rows]  # noqa: SLF001  (SQLAlchemy's documented accessor)

    def _last_place(self, connection: Connection) -> int:
        columns = tables.sample_scores.c
        last = connection.execute(select(func.max(columns.place)).where(columns.source == self._source)).scalar()
        # Scores of ended rollouts are pruned, and their numbers must not come again.
        return max(last or 0, self._last)
