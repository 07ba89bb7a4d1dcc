"""Spans as the gateway sees them, whoever records them, and which one is current.

No tracing library is imported here. Where tracing is off there is never a current span, and all that a request pays
is a look at a context variable.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Literal, Protocol

Attribute = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Attribute]
SpanKind = Literal["internal", "client", "server"]

CANCELLED: Final = "cancelled"
"""Value of ``error.type`` for what was given up: its client went away, or the gateway stopped."""


class Span(Protocol):
    """A piece of work with a beginning and an end. Times are in nanoseconds since the epoch."""

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether it will be exported; if not, everything below costs next to nothing."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """``traceparent`` and, where there is one, ``tracestate``, for what works for it (W3C Trace Context)."""
        ...

    def child(self, name: str, *, kind: SpanKind = "internal", began_ns: int | None = None) -> "Span":
        """A part of it, which begins now or at ``began_ns``."""
        ...

    def describe(self, attributes: Attributes) -> None:
        """Say more of it. Texts of requests, documents and answers are no attributes."""
        ...

    def fail(self, error_type: str) -> None:
        """Mark it as failed. ``error_type``: a code or the name of a class, one of few; never a message."""
        ...

    def end(self, at_ns: int | None = None) -> None:
        """It is over, now or at ``at_ns``. To be called once."""
        ...


class Tracer(Protocol):
    """Begins traces, or goes on with those that callers began."""

    def start(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """The span of one request. ``headers``: its lower-case headers, of which the trace context is read."""
        ...

    def close(self, timeout_s: float) -> None:
        """Export what waits, for ``timeout_s`` seconds at most. Blocking."""
        ...


_CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)
_NOTHING: AbstractContextManager[None] = nullcontext()


def current_span() -> Span | None:
    """The innermost span around the caller; None where tracing is off or nothing is being traced."""
    return _CURRENT.get()


def current_trace_id() -> str | None:
    """The trace that the caller works for, sampled or not; None where there is none."""
    span = _CURRENT.get()
    return None if span is None else span.trace_id


def exemplar_trace_id() -> str | None:
    """The trace that an exemplar may point at: one that is exported. None where there is none."""
    span = _CURRENT.get()
    return span.trace_id if span is not None and span.sampled else None


def spanning(name: str, *, kind: SpanKind = "internal") -> AbstractContextManager[Span | None]:
    """A ``with`` block as a part of the current span; gives None where there is none."""
    parent = _CURRENT.get()
    return _NOTHING if parent is None else SpanBlock(parent.child(name, kind=kind))


class SpanBlock:
    """Makes ``span`` the current one for a ``with`` block, and ends it after that.

    An exception that passes marks it with the exception's class alone: a message may quote what somebody asked.
    """

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[Span | None] | None = None

    def __enter__(self) -> Span:
        self._token = _CURRENT.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)
            self._token = None
        if error is not None:
            self._span.fail(error_name(error))
        self._span.end()


def error_name(error: BaseException) -> str:
    """What ``error`` is called in a span."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return CANCELLED
    return type(error).__name__


def epoch_ns(moment: float) -> int:
    """A moment of ``time.perf_counter()`` as nanoseconds since the epoch."""
    return time.time_ns() - round((time.perf_counter() - moment) * 1e9)
