"""Records of jobs, of their events and of their checkpoints."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Table, delete, func, insert, select, update

from adapters.database import Database
from serving.jobs.tables import checkpoints, events, installation, jobs
from serving.jobs.types import (
    STARTABLE,
    UNFINISHED,
    Checkpoint,
    JobEvent,
    JobRecord,
    JobStatus,
    NewCheckpoint,
    NewEvent,
    News,
)


class Jobs:
    """The jobs. Blocking, thread-safe. Every method may raise CatalogUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def installation(self) -> str:
        """What tells this installation from every other one."""
        with self._database.reading() as connection:
            return str(connection.execute(select(installation.c.name)).scalar_one())

    def add(self, record: JobRecord, first: Sequence[NewEvent]) -> JobRecord:
        """Store a job with its first events; its serial is given here."""
        with self._database.writing() as connection:
            last = connection.execute(select(func.coalesce(func.max(jobs.c.serial), 0))).scalar_one()
            values = {name: getattr(record, name) for name in JobRecord.__slots__} | {"serial": int(last) + 1}
            connection.execute(insert(jobs).values(**values))
            _add_events(connection, record.id, first)
        return _job(values)

    def get(self, job_id: str) -> JobRecord | None:
        """One job."""
        with self._database.reading() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
        return None if row is None else _job(row)

    def page(self, *, owner: str | None, after: int | None, limit: int) -> list[JobRecord]:
        """Up to ``limit`` jobs, the newest first, from behind the serial ``after``; ``owner`` None: everybody's."""
        query = select(jobs).order_by(jobs.c.serial.desc()).limit(limit)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        if after is not None:
            query = query.where(jobs.c.serial < after)
        return self._jobs(query)

    def unfinished(self) -> int:
        """How many jobs wait, train or are paused."""
        query = select(func.count()).select_from(jobs).where(jobs.c.status.in_([one.value for one in UNFINISHED]))
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def counts(self) -> dict[JobStatus, int]:
        """How many jobs there are, by status."""
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._database.reading() as connection:
            return {JobStatus(status): int(count) for status, count in connection.execute(query)}

    def heard_at(self, statuses: Iterable[JobStatus]) -> int | None:
        """When something was last heard of the job that has been silent longest, Unix seconds.

        Among the jobs in one of these states; None where there is none.
        """
        wanted = jobs.c.status.in_([one.value for one in statuses])
        told = events.join(jobs, jobs.c.id == events.c.job_id)
        last = select(func.max(events.c.created_at).label("at")).select_from(told)
        each = last.where(wanted).group_by(events.c.job_id).subquery()
        with self._database.reading() as connection:
            at = connection.execute(select(func.min(each.c.at))).scalar_one()
        return None if at is None else int(at)

    def startable(self) -> list[str]:
        """Jobs that want a trainer, in the order of their arrival."""
        query = select(jobs.c.id).where(jobs.c.status.in_([one.value for one in STARTABLE])).order_by(jobs.c.serial)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def unannounced(self) -> list[JobRecord]:
        """Jobs whose result was not handed on yet."""
        succeeded = jobs.c.status == JobStatus.SUCCEEDED.value
        return self._jobs(select(jobs).where(succeeded, ~jobs.c.announced).order_by(jobs.c.serial))

    def in_status(self, statuses: Iterable[JobStatus]) -> list[JobRecord]:
        """The jobs in one of these states."""
        return self._jobs(select(jobs).where(jobs.c.status.in_([one.value for one in statuses])))

    def kept(self, job_ids: Collection[str], ended_before: int) -> set[str]:
        """Those of the ids whose job is unfinished, or ended later than ``ended_before``, Unix seconds."""
        kept = jobs.c.finished_at.is_(None) | (jobs.c.finished_at > ended_before)
        with self._database.reading() as connection:
            return set(connection.execute(select(jobs.c.id).where(jobs.c.id.in_(job_ids), kept)).scalars())

    def change(self, job_id: str, **values: Any) -> None:
        """Set columns."""
        with self._database.writing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))

    def move(
        self,
        job_id: str,
        to: JobStatus,
        *,
        allowed: Collection[JobStatus],
        tell: Sequence[NewEvent] = (),
        **values: Any,
    ) -> bool:
        """Bring a job into another state, with the events that say so; False where it was in none of ``allowed``."""
        now_there = jobs.c.status.in_([one.value for one in allowed])
        with self._database.writing() as connection:
            moved = connection.execute(
                update(jobs).where(jobs.c.id == job_id, now_there).values(status=to.value, **values)
            ).rowcount
            if moved:
                _add_events(connection, job_id, tell)
        return bool(moved)

    def forget(self, ended_before: int) -> None:
        """Drop the events and checkpoints of jobs that ended before, Unix seconds; the jobs stay."""
        ended = select(jobs.c.id).where(jobs.c.finished_at <= ended_before)
        with self._database.writing() as connection:
            for table in (events, checkpoints):
                connection.execute(delete(table).where(table.c.job_id.in_(ended)))

    def tell(self, job_id: str, *new: NewEvent) -> None:
        """Add events."""
        with self._database.writing() as connection:
            _add_events(connection, job_id, new)

    def absorb(self, job_id: str, news: News) -> None:
        """Take in a piece of a trainer's event file, once: all that it tells, and how far it was read."""
        values: dict[str, Any] = {"read_to": news.read_to}
        if news.seconds_left is not None:
            values["estimated_finish"] = int((news.events[-1].at if news.events else 0) + news.seconds_left)
        with self._database.writing() as connection:
            _add_events(connection, job_id, news.events)
            if _add_checkpoints(connection, job_id, news.checkpoints):
                values["fruitless_starts"] = 0
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))

    def events(self, job_id: str, *, after: int | None, ascending: bool, limit: int) -> list[JobEvent]:
        """Up to ``limit`` events of a job in order of arrival, from behind the number ``after``."""
        return [JobEvent(**row) for row in self._entries(events, job_id, after, limit, ascending=ascending)]

    def checkpoints(self, job_id: str, *, after: int | None, limit: int) -> list[Checkpoint]:
        """Up to ``limit`` checkpoints of a job, the newest first, from behind the number ``after``."""
        return [Checkpoint(**row) for row in self._entries(checkpoints, job_id, after, limit, ascending=False)]

    def checkpoint(self, job_id: str, number: int) -> Checkpoint | None:
        """One checkpoint of a job."""
        query = select(checkpoints).where(checkpoints.c.job_id == job_id, checkpoints.c.number == number)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Checkpoint(**row)

    def published(self, number: int, version: str) -> None:
        """Note the adapter version that a checkpoint became."""
        with self._database.writing() as connection:
            connection.execute(update(checkpoints).where(checkpoints.c.number == number).values(version=version))

    def _jobs(self, query: Select[Any]) -> list[JobRecord]:
        with self._database.reading() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def _entries(
        self, table: Table, job_id: str, after: int | None, limit: int, *, ascending: bool
    ) -> list[dict[str, Any]]:
        number = table.c.number
        query = select(table).where(table.c.job_id == job_id).limit(limit)
        query = query.order_by(number if ascending else number.desc())
        if after is not None:
            query = query.where(number > after if ascending else number < after)
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _job(row: Any) -> JobRecord:
    return JobRecord(**{**row, "status": JobStatus(row["status"])})


def _add_events(connection: Connection, job_id: str, new: Sequence[NewEvent]) -> None:
    if new:
        rows = [
            {
                "job_id": job_id,
                "created_at": int(one.at),
                "level": one.level,
                "kind": one.kind,
                "message": one.message,
                "data": dict(one.data),
            }
            for one in new
        ]
        connection.execute(insert(events), rows)


def _add_checkpoints(connection: Connection, job_id: str, new: Sequence[NewCheckpoint]) -> bool:
    """Whether one of them is further than all before."""
    furthest = connection.execute(
        select(func.coalesce(func.max(checkpoints.c.step), -1)).where(checkpoints.c.job_id == job_id)
    ).scalar_one()
    for one in new:
        values = {"created_at": int(one.at), "path": one.path, "metrics": dict(one.metrics)}
        same = (checkpoints.c.job_id == job_id) & (checkpoints.c.step == one.step)
        if not connection.execute(update(checkpoints).where(same).values(**values)).rowcount:
            connection.execute(insert(checkpoints).values(job_id=job_id, step=one.step, **values))
    return any(one.step > furthest for one in new)
