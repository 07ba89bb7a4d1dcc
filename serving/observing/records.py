"""What the processes of all replicas share of drift and quality: records in the state database."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Table, delete, func, insert, or_, select, update

from adapters.database import Database
from serving.observing.tables import batches, keepers, references, reports, spending, states

DRIFT = "drift"
QUALITY = "quality"
"""Kinds of states: a task's windows, and the score of a task and version."""
WAITING = "waiting"
DONE = "done"
FAILED = "failed"
"""States of a reference that somebody asked for."""

BUDGET_PERIOD = timedelta(hours=1)
_KEPT_BATCHES = timedelta(hours=1)
_KEPT_REFERENCES = 20
_AT_ONCE = 500
"""Numbers in one statement: databases take only so many."""
_LEASE = "windows"
_RENEWED = 0.75
"""A lease of which more than this share is left is not renewed."""


@dataclass(frozen=True, slots=True)
class StateKey:
    """Whose state it is."""

    kind: str
    task: str
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference that somebody asked for."""

    id: int
    task: str
    at: datetime
    actor: str
    version: str | None
    """The version whose training data it is; None for the live window of that moment."""
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What was last found of one task."""

    task: str
    at: datetime
    body: str
    """JSON."""


class LeaseLost(Exception):
    """Another process keeps the windows now."""


class MonitoringRecords:
    """Blocking, thread-safe. Every method may raise CatalogUnavailable.

    One process at a time keeps the windows and scores of all: the one that holds the lease.

    Args:
        holder: names this process and no other, ever.
    """

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder

    def migrate(self) -> None:
        """Bring the tables up to date."""
        self._database.migrate()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    # What every replica writes

    def add_batch(self, content: str) -> None:
        """Leave observations for whoever keeps the windows. Those that nobody took for an hour are forgotten."""
        now = _now()
        with self._database.writing() as connection:
            connection.execute(delete(batches).where(batches.c.at < now - _KEPT_BATCHES))
            connection.execute(insert(batches).values(at=now, content=content))

    def spend(self, task: str, wanted: int, per_hour: int) -> int:
        """How many of ``wanted`` verdicts on a task may be asked for now; they count as spent."""
        now, columns = _now(), spending.c
        with self._database.writing() as connection:
            connection.execute(delete(spending).where(columns.at <= now - BUDGET_PERIOD))
            spent = connection.execute(select(func.count()).select_from(spending).where(columns.task == task)).scalar()
            granted = max(min(wanted, per_hour - (spent or 0)), 0)
            if granted:
                connection.execute(insert(spending), [{"task": task, "at": now}] * granted)
        return granted

    # The lease

    def claim(self, seconds: float) -> bool:
        """Take the lease, or keep it, for so long. False where another process has it.

        What has changed little is not written again: this is asked every other second.
        """
        now, columns = _now(), keepers.c
        until = now + timedelta(seconds=seconds)
        with self._database.reading() as connection:
            held = connection.execute(select(columns.holder, columns.until).where(columns.name == _LEASE)).first()
        if held is not None and held.holder != self._holder and held.until >= now:
            return False
        if held is not None and held.holder == self._holder and now + _RENEWED * (until - now) < held.until <= until:
            return True
        free = or_(columns.holder == self._holder, columns.until < now)
        with self._database.writing() as connection:
            known = connection.execute(select(columns.name).where(columns.name == _LEASE)).first()
            if known is None:
                connection.execute(insert(keepers).values(name=_LEASE, holder=self._holder, until=until))
                return True
            taken = update(keepers).where(columns.name == _LEASE, free).values(holder=self._holder, until=until)
            return connection.execute(taken).rowcount > 0

    def release(self) -> None:
        """Give the lease back, if it is held."""
        with self._database.writing() as connection:
            connection.execute(delete(keepers).where(keepers.c.holder == self._holder))

    # What its holder reads and writes

    def states(self) -> dict[StateKey, str]:
        """Every state, as JSON."""
        with self._database.reading() as connection:
            return {StateKey(row.kind, row.task, row.adapter): row.data for row in connection.execute(select(states))}

    def new_batches(self, known: Collection[int], limit: int) -> list[tuple[int, str]]:
        """Batches whose numbers are not among ``known``, oldest first."""
        with self._database.reading() as connection:
            there = connection.execute(select(batches.c.id).order_by(batches.c.id)).scalars()
            wanted = [number for number in there if number not in known][:limit]
            query = select(batches.c.id, batches.c.content).where(batches.c.id.in_(wanted)).order_by(batches.c.id)
            return [(row.id, row.content) for row in connection.execute(query)]

    def save(
        self,
        changed: Mapping[StateKey, str],
        *,
        gone: Iterable[StateKey] = (),
        folded: Sequence[int] = (),
        settled: Mapping[int, tuple[str, str]] | None = None,
    ) -> None:
        """Write states together with what they were made of: nothing counts twice, and nothing is lost.

        Args:
            gone: states to forget.
            folded: numbers of batches that are in the states now.
            settled: numbers of references that somebody asked for: how they ended, and what is to be said of it.

        Raises:
            LeaseLost: another process keeps them now; nothing is written.
        """
        now = _now()
        with self._database.writing() as connection:
            held = connection.execute(select(keepers.c.holder).where(keepers.c.name == _LEASE)).scalar()
            if held != self._holder:
                raise LeaseLost
            for key, data in changed.items():
                _put(connection, states, _whose(key), {"data": data, "at": now})
            for key in gone:
                connection.execute(delete(states).where(*(states.c[name] == at for name, at in _whose(key).items())))
            for start in range(0, len(folded), _AT_ONCE):
                part = folded[start : start + _AT_ONCE]
                connection.execute(delete(batches).where(batches.c.id.in_(part)))
            for number, (state, detail) in (settled or {}).items():
                connection.execute(
                    update(references).where(references.c.id == number).values(state=state, detail=detail)
                )

    def save_reports(self, bodies: Mapping[str, str]) -> None:
        """Replace the reports by ``bodies``, JSON by task. Raises LeaseLost."""
        now = _now()
        with self._database.writing() as connection:
            held = connection.execute(select(keepers.c.holder).where(keepers.c.name == _LEASE)).scalar()
            if held != self._holder:
                raise LeaseLost
            connection.execute(delete(reports).where(reports.c.task.not_in(list(bodies))))
            for task, body in bodies.items():
                _put(connection, reports, {"task": task}, {"body": body, "at": now})

    # What people ask for and see

    def reports(self) -> list[StoredReport]:
        """What was last found of each task, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(reports).order_by(reports.c.task))
            return [StoredReport(row.task, row.at, row.body) for row in rows]

    def ask_for_reference(self, task: str, actor: str, version: str | None) -> Reference:
        """Ask whoever keeps the windows to set another reference. Of old wishes the last ones are kept."""
        columns, now = references.c, _now()
        values = {"task": task, "at": now, "actor": actor, "version": version, "state": WAITING, "detail": ""}
        with self._database.writing() as connection:
            key = connection.execute(insert(references).values(values)).inserted_primary_key
            number = int(key[0]) if key is not None else 0
            old = select(columns.id).where(columns.task == task).order_by(columns.id.desc()).offset(_KEPT_REFERENCES)
            oldest = connection.execute(old.limit(1)).scalar()
            if oldest is not None:
                connection.execute(delete(references).where(columns.task == task, columns.id <= oldest))
        return Reference(number, task, now, actor, version, WAITING, "")

    def references(self, *, state: str | None = None) -> list[Reference]:
        """The references that were asked for, oldest first; those in one state, where one is named."""
        query = select(references).order_by(references.c.id)
        if state is not None:
            query = query.where(references.c.state == state)
        with self._database.reading() as connection:
            return [Reference(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001


def _whose(key: StateKey) -> dict[str, str]:
    return {"kind": key.kind, "task": key.task, "adapter": key.adapter}


def _put(connection: Connection, table: Table, key: Mapping[str, str], values: Mapping[str, object]) -> None:
    place = [table.c[name] == value for name, value in key.items()]
    if connection.execute(update(table).where(*place).values(**values)).rowcount == 0:
        connection.execute(insert(table).values(**key, **values))


def _now() -> datetime:
    return datetime.now(UTC)
