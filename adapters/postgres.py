"""PostgreSQL as the state's database: every call to it ends in bounded time, and writers take turns.

A server that refuses or hangs up is noticed at once. One that holds still, or a network that swallows packets, would
keep a caller waiting for hours: the driver by itself has no limit for an answer.
"""

import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL

CONNECT_TIMEOUT_S = 5
"""Longest wait for a connection; ``connect_timeout`` in the URL takes its place."""
STATEMENT_TIMEOUT_S = 10
"""Longest that the server works on one statement; ``options=-c statement_timeout=…`` in the URL takes its place."""
GRACE_S = 2.0
"""How much longer than the server itself we wait for an answer, before the connection is given up."""
_MIGRATION_S = 3600
_LOCKS = 0x6C6F7261  # "lora": one number that every Loraplex process agrees on
_STATEMENT_TIMEOUT = re.compile(r"statement_timeout\s*=\s*(\d+)(ms|s|min|h|d)?(?=\s|$)")
_UNITS = {None: 0.001, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed, and raises OperationalError, when an answer is not there in time."""

    answer_timeout_s: float | None = None
    """Longest wait for the answer to one statement; None: for ever."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """As the driver's own, for a limited time."""
        limit = self.answer_timeout_s
        return super().wait(gen if limit is None else self._limited(gen, limit), *args, **options)

    def _limited(self, gen: Generator[Any, Any, Any], limit_s: float) -> Generator[Any, Any, Any]:
        deadline = monotonic() + limit_s
        try:
            wanted = next(gen)
            while True:
                # The driver comes back every tenth of a second, also where nothing has arrived.
                wanted = gen.send((yield wanted))
                if monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {limit_s:g} s; the connection was given up")
        except StopIteration as end:
            return end.value


def make_engine(url: URL) -> Engine:
    """An engine whose connections have limits. Connects to nothing yet."""
    options = given_options(url)
    # A later option wins over an earlier one: what the operator says goes last.
    limits = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_S}s -c idle_in_transaction_session_timeout={STATEMENT_TIMEOUT_S}s"
    )
    given = {
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "application_name": "loraplex",
        # A machine that is gone without a word.
        "tcp_user_timeout": str(int(1000 * (STATEMENT_TIMEOUT_S + GRACE_S))),
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
    }
    defaults = {name: value for name, value in given.items() if name not in url.query}
    engine = create_engine(
        url,
        # What is written may be what somebody asked a model: errors, which are logged, tell none of it.
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args={**defaults, "options": f"{limits} {options}".strip()},
    )
    limit_s = _statement_timeout_s(options)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: Any, parameters: Any) -> BoundedConnection:
        connection = BoundedConnection.connect(*args, **parameters)
        connection.answer_timeout_s = None if limit_s is None else limit_s + GRACE_S
        return connection

    return engine


def given_options(url: URL) -> str:
    """What the operator tells the server at a connection: in the URL, else by libpq's ``PGOPTIONS``.

    libpq itself would leave the variable aside where a connection has options of ours.
    """
    given = url.query.get("options")
    if given is None:
        defaults = {one.keyword: one.val for one in psycopg.pq.Conninfo.get_defaults()}
        return (defaults[b"options"] or b"").decode()
    return " ".join(given) if isinstance(given, tuple) else given


def take_turn(connection: Connection, of: str) -> None:
    """Wait until no other transaction that took this turn is in progress; it ends with the transaction.

    Args:
        of: names the turn.
    """
    place = zlib.crc32(of.encode()) - 2**31  # a signed number of 32 bits
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock, :place)"), {"lock": _LOCKS, "place": place})


@contextmanager
def patient(connection: Connection) -> Iterator[None]:
    """Within the block statements may take an hour: for changes of the schema."""
    driver: Any = connection.connection.dbapi_connection
    before, driver.answer_timeout_s = driver.answer_timeout_s, _MIGRATION_S + GRACE_S
    try:
        connection.execute(text(f"SET LOCAL statement_timeout = '{_MIGRATION_S}s'"))
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{_MIGRATION_S}s'"))
        yield
    finally:
        driver.answer_timeout_s = before


def _statement_timeout_s(options: str) -> float | None:
    """The limit that a URL's options set, or ours. None: no limit."""
    found = _STATEMENT_TIMEOUT.findall(options)
    if not found:
        return float(STATEMENT_TIMEOUT_S)
    number, unit = found[-1]
    return int(number) * _UNITS[unit or None] or None
