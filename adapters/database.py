"""A connection to the state database: dialect differences, transactions, migrations, translated errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from adapters import tables
from adapters.errors import CatalogUnavailable
from adapters.schema import Moved, Schema, SchemaRefused

_BUSY_TIMEOUT_S = 30.0
RESTORING = "loraplex_restoring"
"""A table that is there while a backup is being restored into the database."""
_MAINTENANCE = "maintenance"
CATALOG_SCHEMA = Schema(Path(__file__).parent / "migrations" / "versions", "catalog_schema", tables.metadata)


class Database:
    """One database, by URL. Thread-safe; processes may share it.

    Writers of one schema take turns (SQLite: ``BEGIN IMMEDIATE``; PostgreSQL: an advisory lock), so that what a writer
    reads stays true until it has written; every reader sees one consistent state.

    Args:
        url: a SQLAlchemy URL. SQLite needs a file; its folder is made. ``postgresql://`` means psycopg 3.
        schema: the tables that :meth:`migrate` brings up to date.

    Raises:
        CatalogUnavailable: the URL cannot be used.
    """

    def __init__(self, url: str, schema: Schema = CATALOG_SCHEMA) -> None:
        self._schema = schema
        self._url = _parse(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = _make_engine(self._url, is_sqlite=self._is_sqlite)
        self._closed = False
        event.listen(self._engine, "checkin", self._keep_none)

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self, *, at_length: bool = False) -> Iterator[Connection]:
        """One consistent view. ``at_length``: for whoever reads everything. Raises CatalogUnavailable."""
        with self._translated(), self._engine.connect() as connection, ExitStack() as stack:
            if not self._is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            stack.enter_context(connection.begin())
            if at_length and not self._is_sqlite:
                from adapters.postgres import patient

                stack.enter_context(patient(connection))
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction; rolled back if the block raises. Raises CatalogUnavailable."""
        with (
            self._translated(),
            self._engine.connect() as connection,
            connection.execution_options(loraplex_writes=True).begin(),
        ):
            if not self._is_sqlite:
                from adapters.postgres import take_turn

                take_turn(connection, self._schema.version_table)
            yield connection

    @contextmanager
    def maintaining(self) -> Iterator[Connection]:
        """As :meth:`writing`, for changes of the schema or of everything: with time, and one at a time for all schemas.

        Raises CatalogUnavailable.
        """
        with self._translated(), self._engine.connect() as connection, ExitStack() as stack:
            stack.enter_context(connection.execution_options(loraplex_writes=True).begin())
            if not self._is_sqlite:
                from adapters.postgres import patient, take_turn

                stack.enter_context(patient(connection))
                take_turn(connection, _MAINTENANCE)
                take_turn(connection, self._schema.version_table)
            yield connection

    def migrate(self) -> Moved:
        """Bring the schema to this code's revision; safe from several processes at once.

        Raises:
            CatalogUnavailable: the database is of a schema that this code does not know, is being restored into, or
                cannot be reached.
        """
        with self.maintaining() as connection:
            if inspect(connection).has_table(RESTORING):
                raise CatalogUnavailable(
                    f"the restoring of a backup into {self.shown_url} was begun and has not ended; run "
                    "`loraplex restore` again, or use another `state.url`."
                )
            return self._schema.upgrade(connection)

    def revision(self) -> str | None:
        """The schema's revision in the database; None where it has none yet. Raises as :meth:`migrate`."""
        with self.reading() as connection:
            return self._schema.current(connection)

    def reach(self) -> None:
        """Ask the database for nothing. Raises CatalogUnavailable where it cannot be reached."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every connection; one that another thread is using, when it is done with it."""
        self._closed = True
        self._engine.dispose()

    def _keep_none(self, _connection: Any, entry: ConnectionPoolEntry) -> None:
        if self._closed:
            entry.invalidate()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SchemaRefused as error:
            raise CatalogUnavailable(f"the state database {self.shown_url} {error}") from None
        except DBAPIError as error:
            raise CatalogUnavailable(self._explain(error)) from error
        except SQLAlchemyError as error:
            raise CatalogUnavailable(f"the state database {self.shown_url} cannot be used: {error}") from error

    def _explain(self, error: DBAPIError) -> str:
        cause = str(error.orig).strip().splitlines()[0] if error.orig is not None and str(error.orig) else repr(error)
        if "no such table" in cause or "UndefinedTable" in type(error.orig).__name__:
            return f"the state database {self.shown_url} has no tables yet; start a gateway on it first ({cause})."
        return f"the state database {self.shown_url} cannot be used: {cause}."


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise CatalogUnavailable("`state.url` is not a database URL, such as sqlite:///state.db") from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise CatalogUnavailable(f"`state.url` names {backend}; only sqlite and postgresql are supported")
    if backend == "postgresql" and parsed.drivername != "postgresql+psycopg":
        raise CatalogUnavailable(
            f"`state.url` names the driver {parsed.drivername}, and only psycopg can be used; write `postgresql://…`"
        )
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise CatalogUnavailable("`state.url` names a database in memory, which forgets; give SQLite a file")
        parsed = parsed.set(database=str(Path(parsed.database).expanduser()))
    return parsed


def _make_engine(url: URL, *, is_sqlite: bool) -> Engine:
    try:
        if not is_sqlite:
            from adapters.postgres import make_engine

            return make_engine(url)
        # What is written may be what somebody asked a model: errors, which are logged, tell none of it.
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S}, hide_parameters=True)
    except OSError as error:
        raise CatalogUnavailable(f"the folder of `state.url` cannot be made: {error}") from error
    except NoSuchModuleError as error:
        raise CatalogUnavailable(f"`state.url` cannot be used: {error}") from error
    except ModuleNotFoundError as error:
        raise CatalogUnavailable(f"`state.url` needs the Python package {error.name}; install it") from error
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver would otherwise begin transactions by itself, and too late for a consistent read.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("loraplex_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
