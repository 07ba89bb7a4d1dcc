"""Rows of tables as text that any supported database can take back: JSON lines, compressed.

The first line names the columns and their kinds, and the last number that the table gave out: numbers are never given
out twice, also after a restore. JSON columns are kept as the text that the database holds, moments as ISO 8601 in UTC.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from adapters.tables import UtcDateTime
from serving.backup.errors import BackupInvalid

Row = dict[str, Any]

_AT_ONCE = 1_000


class _JsonText(GenericFunction[Any]):
    """Text as a JSON value, where the database tells the two apart."""

    inherit_cache = True


@compiles(_JsonText, "sqlite")
def _as_it_is(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_JsonText, "postgresql")
def _as_json(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS JSON)"


class RawJson(sa.TypeDecorator[str]):
    """A JSON column, read and written as its text."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        """Written as JSON."""
        return _JsonText(bindvalue)

    def column_expression(self, column: Any) -> Any:
        """Read as text."""
        return sa.cast(column, sa.Text)


_TYPES: Mapping[str, Callable[[], sa.types.TypeEngine[Any]]] = {
    "json": RawJson,
    "time": UtcDateTime,
    "bool": sa.Boolean,
    "plain": sa.types.NullType,
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The first line of a table's rows."""

    table: str
    kinds: dict[str, str]
    """Kind of each column: a key of ``_TYPES``."""
    counter: str | None
    """The column that numbers rows by itself."""
    last: int
    """The last number that it gave out; 0: none yet."""

    @property
    def clause(self) -> Any:
        """The table, for statements."""
        return sa.table(self.table, *(sa.column(name, _TYPES[kind]()) for name, kind in self.kinds.items()))


def columns_of(connection: Connection, table: Table) -> Columns:
    """What there is to say of a table before its rows."""
    counter = table.autoincrement_column
    numbered = counter is not None and isinstance(counter.type, sa.Integer | sa.BigInteger)
    if counter is None or not numbered or counter.autoincrement is not True:
        return Columns(table.name, {column.name: _kind(column) for column in table.columns}, None, 0)
    kinds = {column.name: _kind(column) for column in table.columns}
    return Columns(table.name, kinds, counter.name, _last_number(connection, table.name, counter))


def write_rows(connection: Connection, table: Table, path: Path) -> int:
    """Write every row of ``table``, and return how many there were."""
    columns = columns_of(connection, table)
    clause = columns.clause
    query = select(clause).order_by(*(clause.c[column.name] for column in table.primary_key.columns))
    count = 0
    with path.open("wb") as file, gzip.GzipFile("", "wb", mtime=0, fileobj=file) as packed:
        head = {"table": columns.table, "columns": columns.kinds, "counter": columns.counter, "last": columns.last}
        packed.write(_line(head))
        for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
            packed.write(_line([one.isoformat() if isinstance(one, datetime) else one for one in row]))
            count += 1
    return count


def read_rows(path: Path) -> tuple[Columns, Iterator[Row]]:
    """What :func:`write_rows` wrote. Raises BackupInvalid."""
    lines = _lines(path)
    try:
        head = json.loads(next(lines))
        columns = Columns(head["table"], head["columns"], head["counter"], int(head["last"]))
        if not set(columns.kinds.values()) <= _TYPES.keys():
            raise ValueError
    except (StopIteration, ValueError, KeyError, TypeError, AttributeError):
        raise BackupInvalid("the rows of a table in the backup are not as this Loraplex writes them.") from None
    return columns, (_row(columns, line) for line in lines)


def insert_rows(connection: Connection, columns: Columns, rows: Iterator[Row]) -> int:
    """Add rows, and go on numbering where the table that they come from was. Returns how many there were."""
    count, batch = 0, list[Row]()
    statement = sa.insert(columns.clause)
    # What callers sent may hold the one character that this server stores in no text.
    is_postgresql = connection.dialect.name == "postgresql"
    for row in rows:
        batch.append({name: _storable(value) for name, value in row.items()} if is_postgresql else row)
        if len(batch) == _AT_ONCE:
            connection.execute(statement, batch)
            count, batch = count + len(batch), []
    if batch:
        connection.execute(statement, batch)
    if columns.counter is not None and columns.last:
        _go_on_from(connection, columns.table, columns.counter, columns.last)
    return count + len(batch)


def _storable(value: Any) -> Any:
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as file:
            yield from file
    except (OSError, EOFError) as error:
        raise BackupInvalid(f"the rows of a table in the backup cannot be read: {error}.") from error


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _row(columns: Columns, line: bytes) -> Row:
    values = json.loads(line)
    kinds = columns.kinds
    return {
        name: datetime.fromisoformat(value) if kind == "time" and value is not None else value
        for (name, kind), value in zip(kinds.items(), values, strict=True)
    }


def _kind(column: sa.Column[Any]) -> str:
    if isinstance(column.type, sa.JSON):
        return "json"
    if isinstance(column.type, UtcDateTime):
        return "time"
    return "bool" if isinstance(column.type, sa.Boolean) else "plain"


def _last_number(connection: Connection, table: str, counter: ColumnElement[Any]) -> int:
    highest = int(connection.execute(select(sa.func.coalesce(sa.func.max(counter), 0))).scalar_one())
    if connection.dialect.name == "postgresql":
        sequence = connection.execute(_SEQUENCE, {"table": table, "column": counter.key}).scalar_one()
        last, is_called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608
        return max(highest, int(last) if is_called else 0)
    if not sa.inspect(connection).has_table("sqlite_sequence"):
        return highest
    last = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :table"), {"table": table}).scalar()
    return max(highest, int(last or 0))


_SEQUENCE = text("SELECT pg_get_serial_sequence(:table, :column)")


def _go_on_from(connection: Connection, table: str, counter: str, last: int) -> None:
    if connection.dialect.name == "postgresql":
        sequence = connection.execute(_SEQUENCE, {"table": table, "column": counter}).scalar_one()
        connection.execute(
            text("SELECT setval(CAST(:sequence AS regclass), :last)"), {"sequence": sequence, "last": last}
        )
        return
    made = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = :table"), {"table": table}).scalar_one()
    if "AUTOINCREMENT" in str(made).upper():
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), {"table": table})
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)"), {"table": table, "last": last}
        )
