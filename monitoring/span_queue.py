"""Between spans and their exporter: a bounded queue and a thread, so that no request ever waits for a collector.

The SDK's own batch processor drops the oldest spans without an account of them; here losses are counted, and said once.
Imported only where tracing is on.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)

EXPORTED = "exported"
FAILED = "failed"
"""The collector did not take them."""
DROPPED = "dropped"
"""The queue was full, or the gateway stopped before they were exported."""

CALM_S = 60.0
"""After so many seconds without a loss, losses are over; the next one is said again."""
_CLOSE_S = 5.0
_LAST_EXPORT_S = 1.0
_STOPPED = "the gateway stopped before they were exported"

Counted = Callable[[str, int], None]
"""Hears what became of spans, and of how many: ``exported``, ``failed`` or ``dropped``. From any thread."""


class SpanQueue(SpanProcessor):
    """Exports ended spans in batches.

    Args:
        most: spans that wait at once; beyond them the newest are dropped.
        batch: spans that are exported together, and how many have to wait for an export at once.
        interval_s: how long a span waits for others, in seconds.
        counted: hears what became of them.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        most: int,
        batch: int,
        interval_s: float,
        counted: Counted,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exporter = exporter
        self._most = most
        self._batch = batch
        self._interval_s = interval_s
        self._counted = counted
        self._losses = _Losses(clock)
        self._queue: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._closed = False
        self._give_up = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span in. Never waits, never raises."""
        if self._closing:
            self._lose(DROPPED, 1, _STOPPED)
            return
        if len(self._queue) >= self._most:
            self._lose(DROPPED, 1, "more spans end than the collector takes")
            return
        self._queue.append(span)
        if len(self._queue) >= self._batch:
            self._wake.set()

    def shutdown(self) -> None:
        """See :meth:`close`."""
        self.close(_CLOSE_S)

    def close(self, timeout_s: float) -> None:
        """Export what waits, for ``timeout_s`` seconds at most, and end. Blocking; safe to call twice."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        self._give_up = True
        if not self._closed:
            self._closed = True
            # Wakes an export that waits for its next try.
            self._exporter.shutdown()
        self._thread.join(_LAST_EXPORT_S)
        if left := len(self._queue):
            self._queue.clear()
            self._lose(DROPPED, left, _STOPPED)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Have what waits exported soon; whether nothing was left."""
        deadline = time.monotonic() + timeout_millis / 1000
        while (self._queue or self._busy) and time.monotonic() < deadline and self._thread.is_alive():
            self._wake.set()
            self._thread.join(0.01)
        return not (self._queue or self._busy)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval_s)
            self._busy = True
            self._wake.clear()
            last = self._closing
            while self._queue and not self._give_up:
                self._export([self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))])
            self._busy = False
            if last:
                return

    def _export(self, spans: list[ReadableSpan]) -> None:
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._lose(FAILED, len(spans), f"the exporter failed: {type(error).__name__}")
            return
        if result is SpanExportResult.SUCCESS:
            self._counted(EXPORTED, len(spans))
            self._losses.none_now()
        else:
            self._lose(FAILED, len(spans), "the collector does not take them")

    def _lose(self, result: str, count: int, reason: str) -> None:
        self._counted(result, count)
        self._losses.add(count, reason)


class _Losses:
    """Says the first loss, and the end of losses. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._last = 0.0

    def add(self, count: int, reason: str) -> None:
        with self._lock:
            first = not self._count
            self._count += count
            self._last = self._clock()
        if first:
            logger.warning("spans are being lost, %s; generation goes on without them", reason)

    def none_now(self) -> None:
        with self._lock:
            if not self._count or self._clock() - self._last < CALM_S:
                return
            count, self._count = self._count, 0
        logger.info("spans are exported again; %d were lost", count)
