"""Traces: whether, of which requests, and where they go."""

from pydantic import Field, field_validator

from serving.settings.base import URL_PATTERN, Settings


class TracingSettings(Settings):
    """OpenTelemetry traces of generations and of the API's other requests, exported over OTLP."""

    enabled: bool = Field(
        default=False, description="Whether requests are traced. Off, trace headers of callers still reach the engine."
    )
    endpoint: str = Field(
        default="http://127.0.0.1:4318/v1/traces",
        pattern=URL_PATTERN,
        description="Where spans are sent, as protobuf over HTTP: the whole URL, without credentials in it. Headers "
        "for the collector come from the environment, in `OTEL_EXPORTER_OTLP_HEADERS`.",
    )
    sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of the traces that begin here and are exported."
    )
    follow_parent: bool = Field(
        default=True,
        description="Whether a caller that began a trace decides if it is exported. If not, `sample_ratio` holds for "
        "every trace.",
    )
    service_name: str = Field(default="loraplex", min_length=1, description="The service's name in traces.")
    queue_size: int = Field(
        default=4096,
        ge=1,
        description="Spans that wait to be exported, per replica; beyond them spans are dropped and counted.",
    )
    batch_size: int = Field(default=512, ge=1, description="Spans that are exported together.")
    export_interval_s: float = Field(
        default=2.0, gt=0, description="How long a span waits for others to be exported with, in seconds."
    )
    timeout_s: float = Field(default=10.0, gt=0, description="Limit for one export, its retries included, in seconds.")

    @field_validator("endpoint")
    @classmethod
    def _endpoint_holds_no_key(cls, value: str) -> str:
        if "@" in value.partition("://")[2].partition("/")[0] or "?" in value:
            raise ValueError("must hold no credentials: put them into `OTEL_EXPORTER_OTLP_HEADERS` of the environment")
        return value
