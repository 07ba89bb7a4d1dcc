"""Which format a scraper gets."""

import pytest

from monitoring.exposition import Format, negotiate

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2_42,
        Format.OPENMETRICS.value,
        "Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8",
        "application/openmetrics-text",
        "text/plain;q=0.4, application/openmetrics-text;version=0.0.1;q=0.5",
    ],
)
def test_openmetrics_for_who_prefers_it(accept: str) -> None:
    assert negotiate(accept) is Format.OPENMETRICS


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "text/html",
        Format.TEXT.value,
        "text/plain;q=0.9, application/openmetrics-text;q=0.5",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=a lot",
        "application/openmetrics-text;version=2.0.0",
        ";;,,=",
    ],
)
def test_text_for_everybody_else(accept: str | None) -> None:
    assert negotiate(accept) is Format.TEXT
