"""A connection to the state database: dialect differences, transactions, migrations, translated errors."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from adapters.errors import CatalogUnavailable

_BUSY_TIMEOUT_S = 30.0
_ALEMBIC = threading.Lock()
"""Alembic keeps what it is doing in variables of its modules: one migration at a time in a process."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one library or application, which share the database with those of others."""

    revisions: Path
    """A folder with one module for each revision."""
    version_table: str
    """Where the schema's revision is kept."""


_MIGRATIONS = Path(__file__).parent / "migrations"
CATALOG_SCHEMA = Schema(_MIGRATIONS / "versions", "catalog_schema")


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

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view. Raises CatalogUnavailable."""
        with self._translated(), self._engine.connect() as connection:
            if not self._is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction; rolled back if the block raises. Raises CatalogUnavailable."""
        with (
            self._translated(),
            self._engine.connect() as connection,
            connection.execution_options(loraplex_writes=True).begin(),
        ):
            self._take_turn(connection)
            yield connection

    def migrate(self) -> None:
        """Bring the schema to this code's revision; safe from several processes at once.

        Raises:
            CatalogUnavailable: the database is of a schema that this code does not know, or cannot be reached.
        """
        config = Config()
        config.set_main_option("script_location", _escaped(_MIGRATIONS))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", _escaped(self._schema.revisions))
        with _ALEMBIC, self._migrating() as connection:
            self._refuse_newer(connection, ScriptDirectory.from_config(config))
            config.attributes["connection"] = connection
            config.attributes["version_table"] = self._schema.version_table
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _migrating(self) -> Iterator[Connection]:
        """As :meth:`writing`, with time for what a migration has to do."""
        with self._translated(), self._engine.connect() as connection, ExitStack() as stack:
            stack.enter_context(connection.execution_options(loraplex_writes=True).begin())
            if not self._is_sqlite:
                from adapters.postgres import patient

                stack.enter_context(patient(connection))
            self._take_turn(connection)
            yield connection

    def _take_turn(self, connection: Connection) -> None:
        if not self._is_sqlite:
            from adapters.postgres import take_turn

            take_turn(connection, self._schema.version_table)

    def _refuse_newer(self, connection: Connection, scripts: ScriptDirectory) -> None:
        context = MigrationContext.configure(connection, opts={"version_table": self._schema.version_table})
        known = {script.revision for script in scripts.walk_revisions()}
        for found in context.get_current_heads():
            if found not in known:
                raise CatalogUnavailable(
                    f"the state database {self.shown_url} has schema {found}, newer than the schema "
                    f"{scripts.get_current_head()} of this Loraplex; upgrade Loraplex or use another `state.url`."
                )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise CatalogUnavailable(self._explain(error)) from error
        except SQLAlchemyError as error:
            raise CatalogUnavailable(f"the state database {self.shown_url} cannot be used: {error}") from error

    def _explain(self, error: DBAPIError) -> str:
        cause = str(error.orig).strip().splitlines()[0] if error.orig is not None and str(error.orig) else repr(error)
        if "no such table" in cause or "UndefinedTable" in type(error.orig).__name__:
            return f"the state database {self.shown_url} has no tables yet; start a gateway on it first ({cause})."
        return f"the state database {self.shown_url} cannot be used: {cause}."


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


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
