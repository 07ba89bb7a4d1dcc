"""Series that recording rules make: named ``level:metric:operation``, as Prometheus' documentation advises.

Each keeps the label ``job``, so that it is selected like the series that it is made of.
"""

from monitoring.spec import MetricSpec

SHORT_WINDOWS = ("5m", "30m", "1h", "2h", "6h")
LONG_WINDOWS = ("1d", "3d", "30d")
"""Read from days of samples, so they are evaluated less often."""

_SLO = ("task", "slo")
_CHECK = ("task", "adapter", "check")

SLO_BAD: dict[str, MetricSpec] = {
    window: MetricSpec(
        f"task_slo:loraplex_slo_requests:bad_ratio{window}",
        "gauge",
        "ratio",
        f"Share of the requests of {window} that were bad for a service level objective.",
        _SLO,
    )
    for window in (*SHORT_WINDOWS, *LONG_WINDOWS)
}
SLO_COUNT: dict[str, MetricSpec] = {
    window: MetricSpec(
        f"task_slo:loraplex_slo_requests:increase{window}",
        "gauge",
        "requests",
        f"Requests of {window} that counted for a service level objective.",
        _SLO,
    )
    for window in ("1h", "6h", "1d", "3d")
}
SLO_BUDGET = MetricSpec(
    "task_slo:loraplex_slo:budget_ratio",
    "gauge",
    "ratio",
    "Share of the requests of 30 days that may be bad, as the configuration says.",
    _SLO,
)
QUALITY_COUNT = MetricSpec(
    "task_adapter_check:loraplex_quality_checks:increase30m",
    "gauge",
    "events",
    "Checks of half an hour, of answers that callers got.",
    _CHECK,
)
QUALITY_BAD = MetricSpec(
    "task_adapter_check:loraplex_quality_checks:bad_increase30m",
    "gauge",
    "events",
    "Checks of half an hour that found an answer bad.",
    _CHECK,
)
QUALITY_USUAL = MetricSpec(
    "task_check:loraplex_quality_checks:usual_ratio1d",
    "gauge",
    "ratio",
    "Bad share of the checks of a task on the day before: of its stable versions, or of the base model.",
    ("task", "check"),
)
QUALITY_EXPECTED = MetricSpec(
    "task_adapter_check:loraplex_quality_checks:expected30m",
    "gauge",
    "events",
    "Checks of half an hour that would usually be bad.",
    _CHECK,
)
QUALITY_EXCESS = MetricSpec(
    "task_adapter_check:loraplex_quality_checks:excess_deviations30m",
    "gauge",
    "ratio",
    "By how many standard deviations more are bad than usual.",
    _CHECK,
)
QUALITY: tuple[MetricSpec, ...] = (QUALITY_COUNT, QUALITY_BAD, QUALITY_USUAL, QUALITY_EXPECTED, QUALITY_EXCESS)
"""Made of the checks of answers."""
