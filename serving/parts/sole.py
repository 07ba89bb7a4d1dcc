"""One process at a time: whoever else would run the same part of an installation waits until that one has ended."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from adapters.errors import CatalogUnavailable

LOOK_S = 1.0
"""How often a process that waits tries again, and one that works makes sure of its turn, in seconds."""

_CONNECT_S = 5
_SILENT = ("tcp_keepalives_idle=5", "tcp_keepalives_interval=5", "tcp_keepalives_count=3")
"""Within 20 s PostgreSQL gives up a machine that has fallen silent, and with it the turn of a process there."""

Value = TypeVar("Value")
Tell = Callable[[str], None]


class Turn(Protocol):
    """What only one process can hold, and which its death gives back. Blocking."""

    def take(self) -> bool:
        """Take it, or make sure of it. False: another process holds it. Raises CatalogUnavailable."""
        ...

    def give_back(self) -> None:
        """Let the next one have it. Safe to call twice."""
        ...


class PostgresTurn:
    """An advisory lock of a session: it lasts as long as the connection. Not to be had through a transaction pooler."""

    def __init__(self, url: URL, name: str) -> None:
        from adapters.postgres import given_options

        silent = " ".join(f"-c {setting}" for setting in _SILENT)
        options = f"{silent} {given_options(url)}".strip()
        arguments = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": _CONNECT_S * 1000, "options": options}
        plain = url.get_driver_name() if "+" in url.drivername else "psycopg"
        full = url.set(drivername=f"postgresql+{plain}")
        self._engine = create_engine(
            full, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments if plain == "psycopg" else {}
        )
        self._key = int.from_bytes(hashlib.sha256(f"loraplex {name}".encode()).digest()[:8], "big", signed=True)
        self._connection: Connection | None = None

    def take(self) -> bool:
        """See Turn."""
        try:
            if self._connection is not None and self._connection.execute(text("SELECT 1")).scalar() == 1:
                return True
        except SQLAlchemyError:
            self._drop()
        try:
            self._connection = self._engine.connect()
            taken = self._connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar()
        except SQLAlchemyError as error:
            self._drop()
            raise CatalogUnavailable(f"the state database does not say whose turn it is: {error}") from error
        if not taken:
            self._drop()
        return bool(taken)

    def give_back(self) -> None:
        """See Turn."""
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
            with contextlib.suppress(SQLAlchemyError):
                connection.close()


class FileTurn:
    """A lock on a file beside an SQLite database, which is on one machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """See Turn."""
        if self._descriptor is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CatalogUnavailable(f"cannot open {self._path}: {error.strerror or error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def give_back(self) -> None:
        """See Turn."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def turn_of(state_url: str, name: str) -> Turn:
    """The turn of the part ``name`` in the installation whose state is at ``state_url``."""
    url = make_url(state_url)
    if url.get_backend_name() == "sqlite":
        return FileTurn(Path(f"{url.database}.{name}.lock"))
    return PostgresTurn(url, name)


class SoleProcess:
    """This process's turn to run a part, and the watch over it.

    Args:
        look_s: see LOOK_S.
    """

    def __init__(self, turn: Turn, name: str, *, look_s: float = LOOK_S) -> None:
        self._turn = turn
        self._name = name
        self._look_s = look_s
        # A thread of its own: where the database hangs, nothing else does.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="turn")
        self._watching: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()
        """Set once another process has the turn: this one has to end."""

    async def begin(self, tell: Tell) -> None:
        """Wait for the turn, saying so once. Raises CatalogUnavailable: nobody can say whose it is."""
        told = False
        while not await self.try_to_begin():
            if not told:
                tell(f"Another {self._name} process is at work; waiting for it to end")
                told = True
            await asyncio.sleep(self._look_s)

    async def try_to_begin(self) -> bool:
        """Take the turn where nobody has it; whether it is ours. Raises CatalogUnavailable."""
        if not await self._run(self._turn.take):
            return False
        self._watching = asyncio.create_task(self._watch(), name=f"turn of {self._name}")
        return True

    async def end(self) -> None:
        """Give the turn back. Safe to call twice, and before ``begin``."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
        with contextlib.suppress(RuntimeError):  # a second call
            self._thread.submit(self._turn.give_back)
        self._thread.shutdown(wait=False)

    def require(self) -> None:
        """Raises RuntimeError once another process has the turn."""
        if self.lost.is_set():
            raise RuntimeError(f"another {self._name} process has taken over")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            # While the database is away nobody can take over, and nothing can be changed.
            with contextlib.suppress(CatalogUnavailable):
                if not await self._run(self._turn.take):
                    self.lost.set()
                    return

    async def _run(self, call: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
