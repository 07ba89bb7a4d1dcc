"""The log of one process: one line for each event, as text or JSON, written by a thread of its own.

A disk that is slow or full delays nobody: lines wait in memory, then are lost, which is counted and said.
"""

import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

from monitoring.redaction import redact_keys
from monitoring.spans import current_trace_id
from serving.config import LoggingSettings
from serving.observability.context import log_context
from serving.observability.failures import told

FIELDS: Final = "fields"
"""``extra={FIELDS: {...}}`` gives a record named values of its own."""

MOST_WAITING = 10_000
"""Lines that wait to be written; beyond them lines are lost."""
MOST_CHARS = 64 * 2**20
"""Characters of those lines: where texts are logged, lines are long."""

_DRAIN_S = 2.0
_GATHER_S = 0.02
"""How long a line waits for others to be written with, in seconds."""
_TOGETHER = 256
"""Lines that are written together."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_QUIET = ("httpx", "httpcore", "alembic", "urllib3")


class LogFormatter(logging.Formatter):
    """What both formats have in common."""

    def __init__(self, *, error_messages: bool) -> None:
        super().__init__()
        self._error_messages = error_messages

    def message_of(self, record: logging.LogRecord) -> str:
        """The message. What warns may quote an address with a password in it."""
        message = record.getMessage()
        return redact_keys(message) if record.levelno >= logging.WARNING else message

    def exception_of(self, record: logging.LogRecord) -> str | None:
        """The exception that the record carries."""
        error = record.exc_info[1] if record.exc_info else None
        return None if error is None else redact_keys(told(error, messages=self._error_messages))

    @staticmethod
    def values_of(record: logging.LogRecord) -> dict[str, Any]:
        """The request that the record belongs to, its trace, and its own values, which win."""
        values: dict[str, Any] = {}
        context = log_context()
        if context is not None:
            values |= {"request_id": context.request_id, "task": context.task, "version": context.version}
        values["trace_id"] = current_trace_id()
        given = getattr(record, FIELDS, None)
        if isinstance(given, Mapping):
            values |= given
        return {name: value for name, value in values.items() if value is not None}


class JsonFormatter(LogFormatter):
    """One JSON object in a line: time, level, logger, message, and what else is known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
            **self.values_of(record),
        }
        exception = self.exception_of(record)
        if exception is not None:
            line["exception"] = exception
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:
            # Half of a surrogate pair, which is no UTF-8: somebody sent it.
            return json.dumps(line, default=str)


class TextFormatter(LogFormatter):
    """For people: time, level, logger, message, ``name=value``; an exception on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. A message cannot begin another one."""
        values = "".join(f" {name}={_shown(value)}" for name, value in self.values_of(record).items())
        message = _plain(self.message_of(record))
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {message}{values}"
        exception = self.exception_of(record)
        return line if exception is None else "\n".join((line, *map(_plain, exception.split("\n"))))


class QueuedHandler(logging.Handler):
    """Writes lines to ``stream`` in a thread of its own, so that whoever logs never waits for a disk.

    Lines that come together are written together: a thread that woke for each would take turns with requests as often.

    Args:
        most: lines that wait at once.
        most_chars: characters that wait at once.
    """

    def __init__(self, stream: TextIO, most: int = MOST_WAITING, most_chars: int = MOST_CHARS) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: deque[str | threading.Event] = deque()
        self._most = most
        self._most_chars = most_chars
        # One thread at a time adds to the first, the writing one alone to the second.
        self._chars_taken = 0
        self._chars_done = 0
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = False
        self._counting = threading.Lock()
        self._lost = 0
        self._untold = 0
        self._works = True
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that were never written."""
        return self._lost

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in. Never waits, never raises."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        chars = self._chars_taken - self._chars_done + len(line)
        if self._closing or len(self._waiting) >= self._most or chars > self._most_chars:
            self._lose(1)
            return
        self._chars_taken += len(line)
        self._waiting.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def drain(self, timeout_s: float) -> bool:
        """Wait until what was logged so far is written, or lost; whether ``timeout_s`` seconds were enough."""
        if not self._thread.is_alive():
            return False
        passed = threading.Event()
        self._waiting.append(passed)
        self._hurry.set()
        self._wake.set()
        return passed.wait(timeout_s)

    def flush(self) -> None:
        """See :meth:`drain`; logging calls it when the process ends as it should."""
        self.drain(_DRAIN_S)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._closing = True
        if self._thread.is_alive():
            self._hurry.set()
            self._wake.set()
            self._thread.join(_DRAIN_S)
        super().close()

    def _run(self) -> None:
        last = False
        while not last:
            self._wake.wait()
            self._hurry.wait(_GATHER_S)
            self._hurry.clear()
            self._wake.clear()
            last = self._closing
            while self._waiting:
                self._write_some()

    def _write_some(self) -> None:
        lines: list[str] = []
        mark: threading.Event | None = None
        while self._waiting and mark is None and len(lines) < _TOGETHER:
            item = self._waiting.popleft()
            if isinstance(item, str):
                lines.append(item)
            else:
                mark = item
        if lines:
            self._works = self._write(lines)
            self._chars_done += sum(map(len, lines))
        if self._works and self._untold and not self._waiting:
            self._tell_losses()
        if mark is not None:
            mark.set()

    def _write(self, lines: list[str]) -> bool:
        try:
            self._stream.write("\n".join((*lines, "")))
            self._stream.flush()
        except (OSError, ValueError):
            # A full disk, or a stream that somebody closed.
            self._lose(len(lines))
            return False
        return True

    def _tell_losses(self) -> None:
        with self._counting:
            lost, self._untold = self._untold, 0
        what = "%d lines of this log were lost: its disk was too slow, or full"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, what, (lost,), None)
        if not self._write([self.format(record)]):
            with self._counting:
                self._untold += lost

    def _lose(self, lines: int) -> None:
        with self._counting:
            self._lost += lines
            self._untold += lines


def set_up_logging(settings: LoggingSettings, stream: TextIO) -> None:
    """Have every logger of this process write to ``stream`` as ``settings`` say. What was set up before is closed."""
    formatter = JsonFormatter if settings.format == "json" else TextFormatter
    handler = QueuedHandler(stream)
    handler.setFormatter(formatter(error_messages=settings.error_messages))
    level = _LEVELS[settings.level]
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, level))


def open_log(path: Path | None) -> TextIO:
    """A log file, opened to append; standard error without a path. Raises OSError."""
    return sys.stderr if path is None else path.open("a", encoding="utf-8", errors="backslashreplace")


def drain_logs(timeout_s: float = _DRAIN_S) -> None:
    """Wait until what was logged is written: for a process that is about to end without further ado."""
    for handler in _handlers():
        handler.drain(timeout_s)


def lost_lines() -> int:
    """Lines of this process's log that were never written."""
    return sum(handler.lost for handler in _handlers())


def _handlers() -> list[QueuedHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, QueuedHandler)]


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: Any) -> str:
    """A value in a line of text: bare where it is one word."""
    text = str(value)
    bare = text.isprintable() and text and not any(letter in ' "=' for letter in text)
    return text if bare else json.dumps(text)


def _plain(text: str) -> str:
    """``text`` without what could end its line, or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
