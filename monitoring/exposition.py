"""The two formats that a scrape can have, and which of them a scraper asks for.

Prometheus' text format 0.0.4 is what every reader understands; OpenMetrics 1.0 carries exemplars besides.
"""

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

_OPENMETRICS = "application/openmetrics-text"
_OPENMETRICS_VERSIONS = ("", "0.0.1", "1.0.0")
_TEXT = ("text/plain", "text/*", "*/*")

# With the names as they are: the encoder's other ways go over every name letter by letter, and spoil the colons.
_encode_openmetrics, _ = choose_encoder(f"{_OPENMETRICS};version=1.0.0;escaping=allow-utf-8")


class Format(StrEnum):
    """How an exposition is written. The value is its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(accept: str | None) -> Format:
    """What the header ``Accept`` prefers (RFC 9110, section 12.5.1); the text format unless it names OpenMetrics."""
    openmetrics = text = 0.0
    for entry in (accept or "").lower().split(","):
        kind, *rest = (part.strip() for part in entry.split(";"))
        parameters = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in rest)}
        quality = _quality(parameters.get("q", "1"))
        if kind == _OPENMETRICS and parameters.get("version", "") in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, quality)
        elif kind in _TEXT:
            text = max(text, quality)
    return Format.OPENMETRICS if openmetrics > 0 and openmetrics >= text else Format.TEXT


def render(registry: CollectorRegistry, form: Format = Format.TEXT) -> bytes:
    """Everything in a registry, without the ``_created`` samples, which would double the number of series."""
    view = _WithoutCreated(registry)
    return _encode_openmetrics(view) if form is Format.OPENMETRICS else generate_latest(view)


class _WithoutCreated:
    """A registry's view without the samples that say since when a series counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            created = f"{family.name}_created"
            family.samples = [sample for sample in family.samples if sample.name != created]
            yield family


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
