"""``OtelTracer``: the gateway's spans as OpenTelemetry's, exported over OTLP.

Imported only where tracing is on: it brings the SDK with it. The process's global tracer provider is left alone, which
the engine may want for its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.context.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Span as RawSpan
from opentelemetry.trace import SpanKind as RawKind
from opentelemetry.trace import StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace import Tracer as RawTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from monitoring import semconv
from monitoring.span_queue import Counted, SpanQueue
from monitoring.spans import Attributes, Span, SpanKind

_KINDS: dict[SpanKind, RawKind] = {
    "internal": RawKind.INTERNAL,
    "client": RawKind.CLIENT,
    "server": RawKind.SERVER,
}
_TRACE_HEADERS = ("traceparent", "tracestate")
_PROPAGATOR = TraceContextTextMapPropagator()
_NOWHERE = Context()


@dataclass(frozen=True, slots=True)
class TracingOptions:
    """What is traced, and how spans leave."""

    service: str
    version: str
    instance: str
    """Which of several processes of the service."""
    sample_ratio: float
    """Share of the traces that begin here and are exported, in [0, 1]."""
    follow_parent: bool
    """Whether a caller's own decision holds for the traces that it began."""
    queue_size: int
    batch_size: int
    interval_s: float


class OtelTracer:
    """See Tracer. One for each process.

    Args:
        exporter: takes batches of spans, in a thread of this tracer's.
        counted: hears what became of spans.
    """

    def __init__(self, options: TracingOptions, exporter: SpanExporter, counted: Counted) -> None:
        self._queue = SpanQueue(
            exporter,
            most=options.queue_size,
            batch=options.batch_size,
            interval_s=options.interval_s,
            counted=counted,
        )
        provider = TracerProvider(sampler=_sampler(options), resource=_resource(options), shutdown_on_exit=False)
        provider.add_span_processor(self._queue)
        self._tracer = provider.get_tracer(semconv.SCOPE, options.version, semconv.SCHEMA_URL)

    def start(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """The span of one request; a part of its caller's trace where the headers name a valid one."""
        carrier = {header: headers[header] for header in _TRACE_HEADERS if header in headers}
        context = _PROPAGATOR.extract(carrier)
        return _Span(self._tracer, self._tracer.start_span(name, context, RawKind.SERVER, dict(attributes)))

    def flush(self, timeout_s: float) -> bool:
        """Have what waits exported, for ``timeout_s`` seconds at most; whether nothing was left. Blocking."""
        return self._queue.force_flush(round(timeout_s * 1000))

    def close(self, timeout_s: float) -> None:
        """Export what waits, for ``timeout_s`` seconds at most. Blocking."""
        self._queue.close(timeout_s)


class _Span:
    """See Span."""

    __slots__ = ("_raw", "_tracer")

    def __init__(self, tracer: RawTracer, raw: RawSpan) -> None:
        self._tracer = tracer
        self._raw = raw

    @property
    def trace_id(self) -> str:
        return format_trace_id(self._raw.get_span_context().trace_id)

    @property
    def sampled(self) -> bool:
        return self._raw.get_span_context().trace_flags.sampled

    @property
    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(self._raw, _NOWHERE))
        return carrier

    def child(self, name: str, *, kind: SpanKind = "internal", began_ns: int | None = None) -> Span:
        if not self.sampled:
            # Nothing of the trace is exported: one span can stand for all of its parts.
            return self
        raw = self._tracer.start_span(name, set_span_in_context(self._raw, _NOWHERE), _KINDS[kind], start_time=began_ns)
        return _Span(self._tracer, raw)

    def describe(self, attributes: Attributes) -> None:
        self._raw.set_attributes(dict(attributes))

    def fail(self, error_type: str) -> None:
        self._raw.set_attribute(semconv.ERROR_TYPE, error_type)
        self._raw.set_status(StatusCode.ERROR)

    def end(self, at_ns: int | None = None) -> None:
        self._raw.end(at_ns)


def otlp_exporter(endpoint: str, timeout_s: float) -> SpanExporter:
    """Sends spans to a collector as protobuf over HTTP.

    Credentials come from the variables that OpenTelemetry has for them, such as ``OTEL_EXPORTER_OTLP_HEADERS``.

    Args:
        endpoint: the whole URL, ``/v1/traces`` included.
        timeout_s: limit for one batch, retries included, in seconds.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=endpoint, timeout=timeout_s)


def _sampler(options: TracingOptions) -> Sampler:
    ratio = TraceIdRatioBased(options.sample_ratio)
    if options.follow_parent:
        return ParentBased(ratio)
    return ParentBased(ratio, remote_parent_sampled=ratio, remote_parent_not_sampled=ratio)


def _resource(options: TracingOptions) -> Resource:
    return Resource.create(
        {
            semconv.SERVICE_NAME: options.service,
            semconv.SERVICE_VERSION: options.version,
            semconv.SERVICE_INSTANCE: options.instance,
        }
    )
