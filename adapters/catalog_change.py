"""One change of the catalog: the reads, checks and writes that its transaction is made of."""

from datetime import datetime

from sqlalchemy import Connection, Table, insert, or_, select, update

from adapters import catalog_rows as rows
from adapters import tables
from adapters.errors import AliasNotFound, RolloutConflict, VersionNotFound
from adapters.types import AdapterVersion, Alias


class NothingToDo(Exception):
    """Rolls the transaction back: the state already is what was asked for."""


class Change:
    """A transaction in progress. ``applied`` turns False where there was nothing to do."""

    connection: Connection
    now: datetime

    def __init__(self) -> None:
        self.applied = True

    def begin(self, connection: Connection, now: datetime) -> None:
        """The transaction has begun."""
        self.connection = connection
        self.now = now

    def find_alias(self, name: str) -> Alias | None:
        """The alias as it is now, if it exists."""
        row = self.connection.execute(select(tables.aliases).where(tables.aliases.c.name == name)).first()
        return rows.alias(row) if row else None

    def alias(self, name: str, expected: Alias | None = None) -> Alias:
        """The alias as it is now. Raises AliasNotFound; RolloutConflict where it is not ``expected``."""
        found = self.find_alias(name)
        if found is None:
            raise AliasNotFound(f"there is no alias {name}.")
        self.expect(found, expected)
        return found

    def expect(self, found: Alias, expected: Alias | None) -> None:
        """Raises RolloutConflict where an alias is not what a writer took it for."""
        if expected is not None and found != expected:
            raise RolloutConflict(f"alias {found.name} was changed by somebody else meanwhile.")

    def version(self, name: str) -> AdapterVersion:
        """The version. Raises VersionNotFound."""
        row = self.connection.execute(select(tables.versions).where(tables.versions.c.name == name)).first()
        if row is None:
            raise VersionNotFound(f"there is no adapter version {name}.")
        return rows.version(row)

    def version_for(self, alias: str, name: str) -> AdapterVersion:
        """The version, which must belong to ``alias``. Raises VersionNotFound, RolloutConflict."""
        found = self.version(name)
        if found.adapter != alias:
            raise RolloutConflict(f"{name} is a version of {found.adapter}; alias {alias} cannot point at it.")
        return found

    def refuse_used(self, version: str) -> None:
        """Raises RolloutConflict where an alias, a pin or a rollout uses ``version``."""
        columns = tables.aliases.c
        used = or_(columns.stable == version, columns.canary == version, columns.shadow == version)
        for alias in map(rows.alias, self.connection.execute(select(tables.aliases).where(used))):
            role = next(
                role
                for role, name in (("stable", alias.stable), ("canary", alias.canary), ("shadow", alias.shadow))
                if name == version
            )
            raise RolloutConflict(f"{version} is the {role} version of alias {alias.name}; point the alias elsewhere.")
        if self.is_marked(tables.pins, version):
            raise RolloutConflict(f"{version} is pinned; unpin it first.")
        automatic = tables.rollouts.c
        under_way = select(automatic.alias).where(
            automatic.ended_at.is_(None), or_(automatic.candidate == version, automatic.stable == version)
        )
        if (name := self.connection.execute(under_way).scalar()) is not None:
            raise RolloutConflict(
                f"an automatic rollout of {name} needs {version}; end it with `loraplex adapters rollout {name} "
                "--stop`, or wait."
            )
        if self.is_marked(tables.staged, version):
            raise RolloutConflict(f"a rollout of {version} is in progress; wait for its end.")

    def is_marked(self, table: Table, version: str) -> bool:
        """Whether ``version`` is in the table of pins or of staged versions."""
        return self.connection.execute(select(table).where(table.c.version == version)).first() is not None

    def save(self, alias: Alias) -> None:
        """Write an alias, new or known."""
        values = rows.alias_values(alias)
        known = update(tables.aliases).where(tables.aliases.c.name == alias.name).values(values)
        if self.connection.execute(known).rowcount == 0:
            self.connection.execute(insert(tables.aliases).values(values))

    def log(self, actor: str, action: str, alias: str, version: str | None, detail: str = "") -> None:
        """Write an event into the history."""
        self.connection.execute(
            insert(tables.events).values(
                at=self.now, actor=actor, action=action, alias=alias, version=version, detail=detail
            )
        )
