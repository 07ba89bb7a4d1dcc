"""The current span, without any library that records."""

import asyncio
import time
from collections.abc import Mapping

import pytest

from monitoring.spans import (
    Attributes,
    Span,
    SpanBlock,
    SpanKind,
    current_span,
    current_trace_id,
    epoch_ns,
    error_name,
    exemplar_trace_id,
    spanning,
)


class Noted:
    """Keeps what is said of it."""

    def __init__(self, name: str, *, sampled: bool = True) -> None:
        self.name = name
        self.trace_id = "0af7651916cd43dd8448eb211c80319c"
        self.sampled = sampled
        self.headers: Mapping[str, str] = {}
        self.parts: list[Noted] = []
        self.failed: str | None = None
        self.ended = 0

    def child(self, name: str, *, kind: SpanKind = "internal", began_ns: int | None = None) -> Span:
        """Another one like this."""
        self.parts.append(Noted(name, sampled=self.sampled))
        return self.parts[-1]

    def describe(self, attributes: Attributes) -> None:
        """Nothing is kept."""

    def fail(self, error_type: str) -> None:
        """Kept."""
        self.failed = error_type

    def end(self, at_ns: int | None = None) -> None:
        """Counted."""
        self.ended += 1


def test_outside_of_a_trace_there_is_nothing() -> None:
    with spanning("work") as span:
        assert span is None
    assert (current_span(), current_trace_id(), exemplar_trace_id()) == (None, None, None)


def test_a_block_is_current_until_it_ends() -> None:
    root = Noted("request")
    with SpanBlock(root):
        assert current_span() is root
        with spanning("part") as part:
            assert current_span() is part
        assert current_span() is root
    assert current_span() is None
    assert [(one.name, one.ended) for one in (root, *root.parts)] == [("request", 1), ("part", 1)]


def test_only_a_trace_that_is_exported_is_offered_to_exemplars() -> None:
    with SpanBlock(Noted("request")):
        assert exemplar_trace_id() == current_trace_id() == "0af7651916cd43dd8448eb211c80319c"
    with SpanBlock(Noted("request", sampled=False)):
        assert exemplar_trace_id() is None
        assert current_trace_id() is not None


def test_an_exception_marks_the_span_by_its_class_alone() -> None:
    root = Noted("request")
    with pytest.raises(ValueError, match="secret"), SpanBlock(root):
        raise ValueError("a secret")
    assert (root.failed, root.ended, current_span()) == ("ValueError", 1, None)


def test_what_was_cancelled_is_called_so() -> None:
    assert error_name(asyncio.CancelledError()) == error_name(GeneratorExit()) == "cancelled"


async def test_tasks_that_a_request_starts_belong_to_its_trace_and_others_do_not() -> None:
    async def look() -> Span | None:
        return current_span()

    before = asyncio.create_task(look())
    root = Noted("request")
    with SpanBlock(root):
        inside = asyncio.create_task(look())
    assert await before is None
    assert await inside is root


def test_a_moment_of_the_performance_counter_is_a_time_of_the_day() -> None:
    moment = time.perf_counter() - 10
    assert abs(time.time_ns() - epoch_ns(moment) - 10e9) < 1e9
