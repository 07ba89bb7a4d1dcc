"""Spans as OpenTelemetry's: context in and out, sampling, and what becomes of them when nobody takes them."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from monitoring import semconv
from monitoring.span_queue import CALM_S, DROPPED, EXPORTED, FAILED, SpanQueue
from monitoring.tracing import OtelTracer, TracingOptions

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE}-00f067aa0ba902b7-00"
WAIT_S = 10.0


class Blocked(SpanExporter):
    """Takes nothing until it is let."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Waits."""
        self.asked.set()
        self.let.wait(WAIT_S)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Let go."""
        self.let.set()


class Dead(SpanExporter):
    """Refuses, or raises where it has an error."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.alive = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """A collector that is away."""
        if self.error is not None:
            raise self.error
        return SpanExportResult.SUCCESS if self.alive else SpanExportResult.FAILURE


def options(*, ratio: float = 1.0, follow: bool = True, most: int = 100, batch: int = 10) -> TracingOptions:
    """What a test does not care for, filled in."""
    return TracingOptions("loraplex", "1", "replica-0", ratio, follow, most, batch, interval_s=60.0)


@contextmanager
def tracing(exporter: SpanExporter, given: TracingOptions | None = None) -> Iterator[tuple[OtelTracer, Counter[str]]]:
    """A tracer, and how many spans ended how."""
    counts: Counter[str] = Counter()
    tracer = OtelTracer(given or options(), exporter, lambda result, count: counts.update({result: count}))
    try:
        yield tracer, counts
    finally:
        tracer.close(WAIT_S)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the queue logged."""
    return [record.getMessage() for record in caplog.records if record.name == "monitoring.span_queue"]


def test_a_trace_goes_on_where_the_caller_began_it() -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter) as (tracer, counts):
        headers = {"traceparent": PARENT, "tracestate": "a=1,b=2"}
        request = tracer.start("POST /x", headers, {semconv.HTTP_METHOD: "POST"})
        part = request.child("chat m", kind="client")
        assert request.trace_id == part.trace_id == TRACE
        assert part.headers["traceparent"].split("-")[1] == TRACE
        assert part.headers["tracestate"] == "a=1,b=2"
        part.end()
        request.end()
        assert tracer.flush(WAIT_S)
    inner, outer = exporter.get_finished_spans()
    assert outer.parent is not None
    assert inner.parent is not None
    assert f"{outer.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert (outer.kind, inner.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert inner.context is not None
    assert part.headers["traceparent"].split("-")[2] == f"{inner.context.span_id:016x}"
    assert outer.resource.attributes[semconv.SERVICE_INSTANCE] == "replica-0"
    assert outer.instrumentation_scope is not None
    assert outer.instrumentation_scope.schema_url == semconv.SCHEMA_URL
    assert counts == {EXPORTED: 2}


@pytest.mark.parametrize(
    "header", ["", "00-1-2-01", f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 5000]
)
def test_a_header_that_is_none_begins_a_new_trace(header: str) -> None:
    with tracing(InMemorySpanExporter()) as (tracer, _):
        span = tracer.start("POST /x", {"traceparent": header, "tracestate": "a=1"}, {})
        assert span.trace_id not in (TRACE, "0" * 32)
        assert "tracestate" not in span.headers
        span.end()


def test_a_caller_decides_whether_its_trace_is_exported() -> None:
    with tracing(InMemorySpanExporter(), options(ratio=0.0)) as (tracer, _):
        assert tracer.start("a", {"traceparent": PARENT}, {}).sampled
        assert not tracer.start("a", {}, {}).sampled
    with tracing(InMemorySpanExporter(), options(ratio=1.0)) as (tracer, _):
        assert not tracer.start("a", {"traceparent": UNSAMPLED}, {}).sampled
        assert tracer.start("a", {}, {}).sampled


def test_a_caller_decides_nothing_where_it_is_not_followed() -> None:
    with tracing(InMemorySpanExporter(), options(ratio=0.0, follow=False)) as (tracer, _):
        assert not tracer.start("a", {"traceparent": PARENT}, {}).sampled
    with tracing(InMemorySpanExporter(), options(ratio=1.0, follow=False)) as (tracer, _):
        request = tracer.start("a", {"traceparent": UNSAMPLED}, {})
        assert request.sampled
        assert request.child("b").sampled


def test_about_the_configured_share_of_new_traces_is_exported() -> None:
    with tracing(InMemorySpanExporter(), options(ratio=0.25)) as (tracer, _):
        sampled = sum(tracer.start("a", {}, {}).sampled for _ in range(2000))
    # Six standard deviations of a binomial count.
    assert abs(sampled - 500) < 6 * (2000 * 0.25 * 0.75) ** 0.5


def test_a_trace_that_is_not_exported_is_told_on_as_such_and_leaves_nothing() -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter, options(ratio=0.0)) as (tracer, counts):
        request = tracer.start("a", {"traceparent": UNSAMPLED, "tracestate": "a=1"}, {})
        part = request.child("b")
        part.describe({semconv.TASK: "t"})
        part.fail("timeout")
        part.end()
        request.end()
        assert part.headers["traceparent"].startswith(f"00-{TRACE}-")
        assert part.headers["traceparent"].endswith("-00")
        assert part.headers["tracestate"] == "a=1"
    assert exporter.get_finished_spans() == ()
    assert counts == {}


def test_a_failure_is_an_error_with_a_type_and_no_message() -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter) as (tracer, _):
        span = tracer.start("a", {}, {})
        span.fail("timeout")
        span.end()
    (ended,) = exporter.get_finished_spans()
    assert ended.status.status_code is StatusCode.ERROR
    assert ended.status.description is None
    assert dict(ended.attributes or {}) == {semconv.ERROR_TYPE: "timeout"}
    assert list(ended.events) == []


def test_a_slow_collector_delays_nobody_and_what_it_misses_is_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exporter = Blocked()
    with tracing(exporter, options(most=5, batch=1)) as (tracer, counts), caplog.at_level(logging.INFO):
        tracer.start("first", {}, {}).end()
        assert exporter.asked.wait(WAIT_S)
        for _ in range(5 + 20):
            tracer.start("more", {}, {}).end()
        assert counts == {DROPPED: 20}
        assert len(said(caplog)) == 1
        assert "generation goes on" in said(caplog)[0]
        exporter.let.set()
        assert tracer.flush(WAIT_S)
        assert counts == {DROPPED: 20, EXPORTED: 6}


@pytest.mark.parametrize("error", [None, ConnectionError("secret")])
def test_a_dead_collector_is_said_once_and_so_is_its_return(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    exporter, counts, now = Dead(), Counter[str](), [0.0]
    exporter.error = error
    queue = _queue(exporter, counts, lambda: now[0])
    with caplog.at_level(logging.INFO), tracing(InMemorySpanExporter()) as (tracer, _):
        spans = _ended(tracer, 3)
        for span in spans:
            queue.on_end(span)
            assert queue.force_flush(round(WAIT_S * 1000))
        assert counts == {FAILED: 3}
        assert len(said(caplog)) == 1
        assert "secret" not in caplog.text
        exporter.error, exporter.alive = None, True
        for at in (1.0, CALM_S + 1.0):
            now[0] = at
            queue.on_end(spans[0])
            assert queue.force_flush(round(WAIT_S * 1000))
        assert said(caplog)[1:] == ["spans are exported again; 3 were lost"]
        assert counts == {FAILED: 3, EXPORTED: 2}
        queue.close(WAIT_S)


def test_a_stop_exports_what_waits_and_drops_what_comes_later() -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter) as (tracer, counts):
        tracer.start("a", {}, {}).end()
        late = tracer.start("b", {}, {})
        tracer.close(WAIT_S)
        late.end()
        assert [span.name for span in exporter.get_finished_spans()] == ["a"]
        assert counts == {EXPORTED: 1, DROPPED: 1}


def test_a_stop_does_not_wait_for_a_collector_that_hangs() -> None:
    exporter = Blocked()
    with tracing(exporter, options(batch=1)) as (tracer, counts):
        tracer.start("a", {}, {}).end()
        assert exporter.asked.wait(WAIT_S)
        tracer.start("b", {}, {}).end()
        tracer.close(0.01)
        assert counts[DROPPED] == 1


def _queue(exporter: SpanExporter, counts: Counter[str], clock: Callable[[], float]) -> SpanQueue:
    def counted(result: str, count: int) -> None:
        counts[result] += count

    return SpanQueue(exporter, most=10, batch=1, interval_s=60.0, counted=counted, clock=clock)


def _ended(tracer: OtelTracer, count: int) -> Sequence[ReadableSpan]:
    """Spans to hand to a queue."""
    for number in range(count):
        tracer.start(f"span {number}", {}, {}).end()
    assert tracer.flush(WAIT_S)
    exporter = tracer._queue._exporter
    assert isinstance(exporter, InMemorySpanExporter)
    return exporter.get_finished_spans()
