"""What a gateway tells of itself: its log lines and its spans, caught where they leave."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from monitoring.tracing import OtelTracer, TracingOptions
from serving.observability.logs import JsonFormatter
from tests.lifecycle import until

Lines = list[dict[str, Any]]


class _Catching(logging.Handler):
    """Formats each record as the gateway's own handler does, where it is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter(error_messages=False))
        self.lines: Lines = []

    def emit(self, record: logging.LogRecord) -> None:
        """Kept."""
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def logged(name: str | None = None) -> Iterator[Lines]:
    """The lines of a logger and those below it; of all loggers without a name."""
    logger, handler = logging.getLogger(name), _Catching()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class Traces:
    """A tracer whose spans stay in memory."""

    def __init__(self, *, sample_ratio: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        options = TracingOptions(
            "loraplex", "1", "test", sample_ratio, follow_parent=True, queue_size=1000, batch_size=100, interval_s=60.0
        )
        self.tracer = OtelTracer(options, self._exporter, lambda result, count: None)

    async def spans(self, *names: str) -> dict[str, ReadableSpan]:
        """All spans by name, once there are some of each of ``names``: the last one ends after its answer was read."""

        def are_there() -> bool:
            self.tracer.flush(1.0)
            return set(names) <= {span.name for span in self._exporter.get_finished_spans()}

        await until(are_there, f"spans {names}")
        return {span.name: span for span in self._exporter.get_finished_spans()}

    def text(self) -> str:
        """Everything that was exported."""
        return "\n".join(span.to_json() for span in self._exporter.get_finished_spans())


@contextmanager
def traces(*, sample_ratio: float = 1.0) -> Iterator[Traces]:
    """Closed in the end."""
    made = Traces(sample_ratio=sample_ratio)
    try:
        yield made
    finally:
        made.tracer.close(10.0)


def parent_of(span: ReadableSpan) -> int | None:
    """The id of the span that it is a part of."""
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    """Its own id."""
    assert span.context is not None
    return int(span.context.span_id)
