"""Lines of the log: their form, what they leave out, and a disk that does not take them."""

import contextvars
import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.config import LoggingSettings
from serving.engine.protocol import EngineFailed
from serving.observability.context import begin_context, log_context
from serving.observability.logs import (
    FIELDS,
    MOST_CHARS,
    JsonFormatter,
    LogFormatter,
    QueuedHandler,
    TextFormatter,
    drain_logs,
    lost_lines,
    open_log,
    set_up_logging,
)

WAIT_S = 10.0


def record(message: str, *args: Any, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    """A record of a logger called `there`."""
    made = logging.LogRecord("there", level, __file__, 1, message, args, None)
    for name, value in extra.items():
        setattr(made, name, value)
    return made


def in_request(formatter: LogFormatter, made: logging.LogRecord) -> str:
    """A line of a request with the id `req-1`, of a task and a version."""

    def inside() -> str:
        begin_context("req-1")
        context = log_context()
        assert context is not None
        context.task, context.version = "support", "triage@11111111"
        return formatter.format(made)

    return contextvars.copy_context().run(inside)


def failing(error: Exception) -> logging.LogRecord:
    """The record of an exception that was raised from ``error``."""
    made = record("it failed", level=logging.ERROR)
    try:
        try:
            raise error
        except Exception as cause:
            raise OSError(28, "No space left on device") from cause
    except OSError as raised:
        made.exc_info = (type(raised), raised, raised.__traceback__)
    return made


def test_a_json_line_names_the_request_its_task_and_its_version() -> None:
    line = json.loads(in_request(JsonFormatter(error_messages=False), record("did %d things", 2, fields={"n": 1})))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "there",
        "message": "did 2 things",
        "request_id": "req-1",
        "task": "support",
        "version": "triage@11111111",
        "n": 1,
    }


def test_a_line_outside_of_a_request_names_none() -> None:
    line = json.loads(JsonFormatter(error_messages=False).format(record("started")))
    assert line.keys() == {"time", "level", "logger", "message"}


def test_a_text_line_shows_the_same_and_quotes_what_has_blanks() -> None:
    line = in_request(TextFormatter(error_messages=False), record("ended", fields={"why": "a b", "empty": None}))
    assert line.endswith('INFO there ended request_id=req-1 task=support version=triage@11111111 why="a b"')


@pytest.mark.parametrize("formatter", [JsonFormatter(error_messages=False), TextFormatter(error_messages=False)])
def test_a_message_is_one_line_whatever_is_in_it(formatter: LogFormatter) -> None:
    line = formatter.format(record("first\r\nsecond %s", "\ud800 half", fields={"name": "a\nb"}))
    assert len(line.splitlines()) == 1


def test_a_line_for_people_steers_no_terminal() -> None:
    made = record("in %s", "\x1b[31mred\x85\u2028", fields={"name": "\x1b[2J"})
    line = TextFormatter(error_messages=True).format(made)
    assert line.isprintable()
    assert "\\x1b[31mred\\x85\\u2028" in line
    failed = TextFormatter(error_messages=True).format(failing(ValueError("\x1b[31mred")))
    assert all(one.isprintable() for one in failed.split("\n"))
    assert "ValueError: \\x1b[31mred" in failed


@pytest.mark.parametrize("formatter", [JsonFormatter(error_messages=False), TextFormatter(error_messages=False)])
def test_an_exception_shows_where_it_was_raised_and_no_message_that_may_quote_a_request(
    formatter: LogFormatter,
) -> None:
    line = formatter.format(failing(EngineFailed("the prompt was: secret")))
    assert "secret" not in line
    assert "EngineFailed" in line
    assert "No space left on device" in line
    assert "test_logs.py" in line


def test_all_messages_of_exceptions_are_there_where_they_are_asked_for() -> None:
    line = TextFormatter(error_messages=True).format(failing(EngineFailed("the prompt was: secret")))
    assert "EngineFailed: the prompt was: secret" in line


def test_a_warning_quotes_no_password() -> None:
    line = TextFormatter(error_messages=False).format(
        record("%s is away", "postgresql://me:hunter22@db/state", level=logging.WARNING)
    )
    assert "hunter22" not in line


class Disk(io.StringIO):
    """Full until there is room; slow until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.let = threading.Event()
        self.let.set()
        self.asked = threading.Event()

    def write(self, text: str) -> int:
        """Raises OSError where it is full."""
        self.asked.set()
        self.let.wait(WAIT_S)
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)

    def lines(self) -> list[str]:
        """What was written."""
        return self.getvalue().splitlines()


@contextmanager
def handling(disk: Disk, most: int = 100, most_chars: int = MOST_CHARS) -> Iterator[QueuedHandler]:
    """A handler that shows messages alone."""
    handler = QueuedHandler(disk, most, most_chars)
    try:
        yield handler
    finally:
        disk.let.set()
        handler.close()


def test_lines_are_written_in_their_order() -> None:
    disk = Disk()
    with handling(disk) as handler:
        for number in range(50):
            handler.handle(record("line %d", number))
        assert handler.drain(WAIT_S)
        assert disk.lines() == [f"line {number}" for number in range(50)]
        assert handler.lost == 0


def test_a_full_disk_loses_lines_and_says_how_many_once_there_is_room() -> None:
    disk = Disk()
    with handling(disk) as handler:
        disk.full = True
        for number in range(3):
            handler.handle(record("line %d", number))
        assert handler.drain(WAIT_S)
        assert (handler.lost, disk.lines()) == (3, [])
        disk.full = False
        handler.handle(record("back"))
        assert handler.drain(WAIT_S)
        first, second = disk.lines()
        assert first == "back"
        assert second.startswith("3 lines of this log were lost")


def test_a_slow_disk_delays_nobody_and_what_it_misses_is_counted() -> None:
    disk = Disk()
    with handling(disk, most=5) as handler:
        disk.let.clear()
        handler.handle(record("first"))
        assert disk.asked.wait(WAIT_S)
        for _ in range(5 + 7):
            handler.handle(record("more"))
        assert handler.lost == 7
        disk.let.set()
        assert handler.drain(WAIT_S)
        assert disk.lines()[:6] == ["first", *["more"] * 5]
        assert disk.lines()[6].startswith("7 lines of this log were lost")


def test_long_lines_are_lost_before_they_fill_the_memory() -> None:
    disk = Disk()
    with handling(disk, most_chars=10) as handler:
        disk.let.clear()
        for message in ("first", "12345", "x", "y"):
            handler.handle(record(message))
        assert handler.lost == 2
        disk.let.set()
        assert handler.drain(WAIT_S)
        handler.handle(record("there is"))
        assert handler.drain(WAIT_S)
        assert [disk.lines()[place] for place in (0, 1, 3)] == ["first", "12345", "there is"]


def test_a_record_that_cannot_be_shown_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    disk = Disk()
    with handling(disk) as handler:
        handler.handle(record("%d", "no number"))
        handler.handle(record("next"))
        assert handler.drain(WAIT_S)
        assert disk.lines() == ["next"]
    assert "Logging error" in capsys.readouterr().err


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, whose handlers and level come back."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    quiet = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "alembic", "urllib3")}
    logger.handlers = []
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers = handlers
    logger.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def test_the_settings_decide_form_level_and_place(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "replica-0.log"
    with open_log(path) as stream:
        set_up_logging(LoggingSettings(format="json", level="warning"), stream)
        logging.getLogger("here").info("unimportant")
        logging.getLogger("here").warning("important", extra={FIELDS: {"n": 1}})
        drain_logs(WAIT_S)
        (line,) = path.read_text(encoding="utf-8").splitlines()
        assert json.loads(line).items() >= {"level": "warning", "message": "important", "n": 1}.items()
        assert lost_lines() == 0
