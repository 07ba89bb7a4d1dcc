"""The tables of one library or application, which share a database with those of others, and their revisions."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect

_MIGRATIONS = Path(__file__).parent / "migrations"
_ALEMBIC = threading.Lock()
"""Alembic keeps what it is doing in variables of its modules: one migration at a time in a process."""


class SchemaRefused(Exception):
    """The tables in a database are not what their revision says, or of a revision that this code does not know.

    Its text is the end of a sentence that begins with the database.
    """


@dataclass(frozen=True, slots=True)
class Moved:
    """From which revision to which a schema was brought."""

    before: str | None
    """None: there were no tables."""
    after: str


@dataclass(frozen=True, slots=True)
class Schema:
    """Which tables there are, and how they came to be."""

    revisions: Path
    """A folder with one module for each revision."""
    version_table: str
    """Where the schema's revision is kept."""
    tables: MetaData
    """The tables as this code knows them."""

    @property
    def head(self) -> str:
        """The revision of this code."""
        return str(self._scripts().get_current_head())

    def knows(self, revision: str) -> bool:
        """Whether this code can read tables of that revision, bringing them up to its own."""
        return revision in {script.revision for script in self._scripts().walk_revisions()}

    def current(self, connection: Connection) -> str | None:
        """The revision that the database has; None where there is none of it yet.

        Raises SchemaRefused where there are tables and nothing says of which revision, or of an unknown one.
        """
        context = MigrationContext.configure(connection, opts={"version_table": self.version_table})
        found = context.get_current_heads()
        if not found:
            there = sorted(set(inspect(connection).get_table_names()) & self.tables.tables.keys())
            if there:
                raise SchemaRefused(
                    f"has a table {there[0]} and no table {self.version_table} that tells its revision: Loraplex did "
                    "not make it so; move it away, or name another database in `state.url`."
                )
            return None
        for revision in found:
            if not self.knows(revision):
                raise SchemaRefused(
                    f"has schema {revision}, newer than the schema {self.head} of this Loraplex; upgrade Loraplex or "
                    "use another `state.url`."
                )
        return found[0]

    def upgrade(self, connection: Connection, to: str = "head") -> Moved:
        """Bring the tables up, inside the connection's transaction. Raises SchemaRefused."""
        before = self.current(connection)
        with _ALEMBIC:
            command.upgrade(self._config(connection), to)
        after = self.current(connection)
        assert after is not None  # noqa: S101
        if to in ("head", self.head):
            self._check(connection, after)
        return Moved(before, after)

    def make_anew(self, connection: Connection, revision: str) -> None:
        """Drop the tables with what is in them, and make them as they were at ``revision``. Raises SchemaRefused."""
        if self.current(connection) is not None:
            with _ALEMBIC:
                command.downgrade(self._config(connection), "base")
        with _ALEMBIC:
            command.upgrade(self._config(connection), revision)

    def _check(self, connection: Connection, revision: str) -> None:
        """Refuse what says that it is up to date and is not: queries on it would fail one by one."""
        # A column that was added to a revision after some database had been brought to it is missing there for good.
        columns = inspect(connection).get_multi_columns(filter_names=list(self.tables.tables))
        there = {table: {column["name"] for column in found} for (_, table), found in columns.items()}
        for name, table in self.tables.tables.items():
            missing = [column.name for column in table.columns if column.name not in there.get(name, ())]
            if missing:
                raise SchemaRefused(
                    f"says that it has schema {revision} and lacks {name}.{missing[0]}: a version of Loraplex between "
                    "releases made it; move it away and start with a new one, or restore a backup."
                )

    def _config(self, connection: Connection | None = None) -> Config:
        config = Config()
        config.set_main_option("script_location", _escaped(_MIGRATIONS))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", _escaped(self.revisions))
        attributes: dict[str, Any] = {"connection": connection, "version_table": self.version_table}
        config.attributes.update(attributes)
        return config

    def _scripts(self) -> ScriptDirectory:
        return ScriptDirectory.from_config(self._config())


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
