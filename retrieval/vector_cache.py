"""``VectorCache``: vectors by key in one SQLite file that may be lost at any time.

Nothing here raises for the file's sake: a damaged one is made anew, one that is locked or cannot be written is passed
over, and either is logged. Every vector carries a checksum, since SQLite's pages have none.
"""

import logging
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from retrieval.types import Vectors

T = TypeVar("T")

logger = logging.getLogger(__name__)

_VERSION = 1
_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA user_version = {_VERSION};
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
"""
_KEYS_AT_ONCE = 500
_BUSY_S = 1.0
"""How long to wait for another process that writes."""
_TRIM_TO = 0.9
"""Share of the size to which a full file is trimmed, so that not every addition trims."""
_CHECKSUM_BYTES = 4
_LOCKED = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_UNWRITABLE = frozenset(
    (
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
        *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
    )
)


class VectorCache:
    """A file of vectors, the least recently used of which leave when it is full. Thread-safe.

    Args:
        path: of the file; its folder is made where it is missing.
        max_bytes: of the file; it may be over by what one addition brings.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._using = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._complaint = ""

    def get(self, keys: Sequence[bytes], dimension: int) -> dict[bytes, Vectors]:
        """Those of the vectors that are there and whole, shape ``(dimension,)`` each."""

        def read(database: sqlite3.Connection) -> dict[bytes, Vectors]:
            found = {}
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                part = keys[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608
                found.update({key: vector for key, data in rows if (vector := _unpacked(data, dimension)) is not None})
            now = time.time_ns()
            database.executemany("UPDATE vectors SET used = ? WHERE key = ?", [(now, key) for key in found])
            return found

        return self._attempt(read) or {}

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep vectors, shape ``(dimension,)`` each."""

        def write(database: sqlite3.Connection) -> None:
            now = time.time_ns()
            rows = [(key, _packed(vector), now) for key, vector in vectors.items()]
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            self._trim(database)

        self._attempt(write)

    def close(self) -> None:
        """Close the file. Safe to call twice; it is opened again at the next use."""
        with self._using:
            self._drop_connection()

    def _trim(self, database: sqlite3.Connection) -> None:
        size = _used_bytes(database)
        if size <= self._max_bytes:
            return
        (count,) = database.execute("SELECT count(*) FROM vectors").fetchone()
        surplus = max(int(count * (1 - _TRIM_TO * self._max_bytes / size)), 1)
        database.execute(
            "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY used LIMIT ?)", (min(surplus, count),)
        )
        database.execute("PRAGMA incremental_vacuum").fetchall()

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """The result of one transaction; None where the file would not have it."""
        with self._using:
            try:
                with self._connection() as database:
                    done = work(database)
            except sqlite3.Error as error:
                self._recover(error)
                return None
            except OSError as error:
                self._complain(f"cannot be used: {error}")
                return None
            self._complaint = ""
            return done

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False)
            try:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version not in (0, _VERSION):
                    raise sqlite3.DatabaseError(f"made by another version ({version})")
                database.executescript(_SCHEMA)
            except sqlite3.Error:
                database.close()
                raise
            self._database = database
        return self._database

    def _recover(self, error: sqlite3.Error) -> None:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _LOCKED:
            self._complain(f"is locked: {error}")
            return
        self._drop_connection()
        if code in _UNWRITABLE:
            self._complain(f"cannot be used: {error}")
            return
        self._complain(f"is damaged and is made anew: {error}")
        try:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        except OSError as problem:
            self._complain(f"is damaged and cannot be removed: {problem}")

    def _drop_connection(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _complain(self, problem: str) -> None:
        """Once for each problem, not at each use."""
        if problem != self._complaint:
            self._complaint = problem
            logger.warning("the vector cache %s %s", self._path, problem)


def _used_bytes(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _packed(vector: Vectors) -> bytes:
    data = np.asarray(vector, dtype="<f4").tobytes()
    return data + zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "little")


def _unpacked(data: object, dimension: int) -> Vectors | None:
    """None where it is not what was kept."""
    if not isinstance(data, bytes):
        return None
    vector, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(vector) != 4 * dimension or zlib.crc32(vector).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        return None
    return np.frombuffer(vector, dtype="<f4")
