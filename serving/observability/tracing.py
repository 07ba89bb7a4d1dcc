"""From the configuration to a tracer; None, and nothing imported, where tracing is off."""

import logging

from monitoring.metrics import GatewayMetrics
from monitoring.spans import Tracer
from serving.config import TracingSettings
from serving.version import gateway_version

CLOSE_S = 3.0
"""How long a stop waits for spans to be exported, in seconds."""


def build_tracer(settings: TracingSettings, metrics: GatewayMetrics, replica: str) -> Tracer | None:
    """What traces this replica's requests."""
    if not settings.enabled:
        return None
    from monitoring.tracing import OtelTracer, TracingOptions, otlp_exporter

    # The SDK repeats itself for every batch that a collector refuses, and quotes what callers send as trace state.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    options = TracingOptions(
        service=settings.service_name,
        version=gateway_version(),
        instance=replica,
        sample_ratio=settings.sample_ratio,
        follow_parent=settings.follow_parent,
        queue_size=settings.queue_size,
        batch_size=settings.batch_size,
        interval_s=settings.export_interval_s,
    )
    return OtelTracer(options, otlp_exporter(settings.endpoint, settings.timeout_s), metrics.spans_ended)
