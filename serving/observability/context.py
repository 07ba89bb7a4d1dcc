"""Which request a log line belongs to."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class LogContext:
    """What is known of the request that is being worked on, as every line about it says."""

    request_id: str
    task: str | None = None
    version: str | None = None


_CURRENT: ContextVar[LogContext | None] = ContextVar("log_context", default=None)


def begin_context(request_id: str) -> None:
    """From now on this task, and what it starts, works on ``request_id``."""
    _CURRENT.set(LogContext(request_id))


def log_context() -> LogContext | None:
    """The request that the caller works on; None outside of one."""
    return _CURRENT.get()
