"""Reading an exposition as a scraper would."""

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from monitoring.exposition import Format


def families(exposition: bytes, form: Format = Format.TEXT) -> list[Metric]:
    """The metric families of an exposition. Raises ValueError where it is not valid."""
    text = exposition.decode()
    if form is Format.OPENMETRICS:
        return list(read_openmetrics(text))  # type: ignore[no-untyped-call]
    return list(read_text(text))
