"""What the gateway tells of itself: metrics, releases, drift and quality."""

from collections.abc import Iterator

from monitoring.catalogue import (
    BUILD_INFO,
    CATALOG_REACHABLE,
    ENGINE_SERIES_MISSING,
    LOG_LINES_LOST,
    SERIES_DROPPED,
    SPANS,
)
from monitoring.catalogue_observing import DRIFT_DETECTED, OBSERVER_UP
from serving.doctor.finding import Finding, counted, fail, ok, skip, warn
from serving.doctor.visit import Visit
from serving.version import gateway_version

_CLOSED = (401, 403)


def metrics(visit: Visit) -> Iterator[Finding]:
    """A scrape works, and says nothing that is wrong. Raises Unreachable."""
    reply = visit.metrics
    if reply.status in _CLOSED:
        yield skip(
            "metrics",
            "They are closed to this key.",
            "They open to an administrator's key, and to the token of `metrics.token_env`.",
        )
        return
    if not reply.is_good:
        yield fail(
            "metrics", f"A scrape is answered with {reply.status}: {reply.message}", "The gateway's log says why."
        )
        return
    if visit.scrape is None or not visit.scrape.values(BUILD_INFO.name):
        yield warn(
            "metrics",
            "A scrape has nothing of the gateway in it: dashboards, alerts and `loraplex top` are blind.",
            "Set `metrics.enabled: true`.",
        )
        return
    found = list(_troubles(visit))
    yield from found
    if not found:
        series = sum(map(len, visit.scrape.series.values()))
        yield ok("metrics", f"A scrape gives {series} series of {counted(len(visit.scrape.replicas), 'source')}.")


def _troubles(visit: Visit) -> Iterator[Finding]:
    for labels, value in visit.gauge(CATALOG_REACHABLE.name):
        if not value:
            yield fail(
                "metrics",
                f"{labels.get('replica', 'A replica')} cannot read the state database; it serves by what it last read.",
                "There: `loraplex doctor --config FILE`. See docs/runbooks/LoraplexCatalogUnreachable.md.",
            )
    missing = sorted({labels["series"] for labels, value in visit.gauge(ENGINE_SERIES_MISSING.name) if value})
    if missing:
        yield warn(
            "metrics",
            f"The engine does not tell {', '.join(missing)}: panels and alerts that read it are blind.",
            "See docs/runbooks/LoraplexEngineSeriesMissing.md.",
        )
    if dropped := sum(value for _, value in visit.gauge(SERIES_DROPPED.name)):
        yield warn(
            "metrics",
            f"{counted(dropped, 'set')} of label values could not be kept as they were.",
            "Raise `metrics.series_per_family`, or have callers use fewer names.",
        )
    if failed := sum(value for labels, value in visit.gauge(SPANS.name) if labels.get("result") != "exported"):
        yield warn(
            "metrics",
            f"{counted(failed, 'span')} of traces got lost.",
            "Is the collector at `tracing.endpoint` up, and does it take OTLP over HTTP?",
        )
    if lost := sum(value for _, value in visit.gauge(LOG_LINES_LOST.name)):
        yield warn(
            "metrics", f"{counted(lost, 'line')} of logs could not be written.", "Their disk is too slow, or full."
        )


def release(visit: Visit) -> Iterator[Finding]:
    """One release on every replica, and here. Raises Unreachable."""
    by_release: dict[str, set[str]] = {}
    for labels, _ in visit.gauge(BUILD_INFO.name):
        by_release.setdefault(labels.get("version", ""), set()).add(labels.get("replica", ""))
    here = gateway_version()
    if not by_release:
        yield skip("release", "The metrics do not tell it.")
    elif len(by_release) > 1:
        told = "; ".join(f"{version} on {', '.join(sorted(names))}" for version, names in sorted(by_release.items()))
        yield warn(
            "release", f"Replicas run different releases: {told}.", "An upgrade is under way, or stopped half-way."
        )
    elif here not in by_release:
        there = next(iter(by_release))
        yield warn("release", f"The gateway is {there}, this command {here}.", f"Use a `loraplex` of release {there}.")
    else:
        yield ok("release", f"{here}, here and there.")


def observation(visit: Visit) -> Iterator[Finding]:
    """Answers are observed where that is asked for, and are as they were. Raises Unreachable."""
    up = list(visit.gauge(OBSERVER_UP.name))
    if not up:
        yield skip("monitoring", "No answers are observed, or the metrics do not tell.")
        return
    found = [
        warn(
            "monitoring",
            f"{labels.get('replica', 'A replica')} does not observe its answers: drift and quality are not measured.",
            "See docs/runbooks/LoraplexObserverDown.md.",
        )
        for labels, value in up
        if not value
    ]
    drifted = sorted(
        {(labels["task"], labels["signal"]) for labels, value in visit.gauge(DRIFT_DETECTED.name) if value}
    )
    found += [
        warn(
            "monitoring",
            f"Requests of {task} have drifted, by the signal {signal}.",
            f"`loraplex monitoring show {task}`; docs/runbooks/LoraplexDriftDetected.md.",
        )
        for task, signal in drifted
    ]
    yield from found or [ok("monitoring", "Answers are observed, and no drift was detected.")]
