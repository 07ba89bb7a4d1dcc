"""By which measures an autoscaler chooses the number of replicas: expressions for Prometheus.

An autoscaler divides each by a target per replica, and takes the largest result. So each of them is a total over all
replicas. Where Prometheus has scraped no replica lately, none has a value: the number of replicas stays as it is. A
gateway that is idle has a value, 0.
"""

from dataclasses import dataclass

from monitoring.catalogue import CATALOG_REACHABLE, IN_FLIGHT, TTFT, WAITING
from monitoring.dashboards.foreign import ENGINE_WAITING
from monitoring.dashboards.promql import Query, Scope, differs

_SMOOTH = "1m"
"""Long enough that one scrape between two bursts decides nothing."""
_TTFT_WINDOW = "3m"
_TTFT_SHARE = 0.95
_LEAST_ANSWERS = 10
"""The first answers after a quiet time wait for their adapter, which more replicas would not change."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One trigger of an autoscaler."""

    name: str
    metric: str
    """As an external metric of Kubernetes."""
    query: Query
    meaning: str


def in_flight(scope: Scope) -> Query:
    """Generations that were admitted and have not ended, those that wait for an adapter or the engine included."""
    return _or_idle(scope, scope.window_of(IN_FLIGHT, "avg_over_time", _SMOOTH).folded("sum"))


def queue(scope: Scope) -> Query:
    """Generations that wait: for their adapter, or for a place in the engine's batch."""
    adapters = _or_idle(scope, scope.window_of(WAITING, "avg_over_time", _SMOOTH).folded("sum"))
    engine = _or_idle(scope, scope.window_of(ENGINE_WAITING, "avg_over_time", _SMOOTH).folded("sum"))
    return adapters.plus(engine)


def late_replicas(scope: Scope) -> Query:
    """Replicas that stream answers, times the 95th percentile of their time to first token, in seconds.

    Divided by the time that is wanted, it is how many replicas there would have to be. 0 where few answers tell.
    Replicas that still start have streamed none and do not count: they would raise the number that they are to lower.
    """
    callers = differs("shadow")
    busy = scope.increase(TTFT, "replica", over=_TTFT_WINDOW, role=callers).above(0).folded("count")
    enough = scope.increase(TTFT, over=_TTFT_WINDOW, role=callers).at_least(_LEAST_ANSWERS)
    late = busy.times(scope.quantile(_TTFT_SHARE, TTFT, over=_TTFT_WINDOW, role=callers))
    return _or_idle(scope, late.and_(enough))


def measures(scope: Scope) -> tuple[Measure, ...]:
    """All three."""
    return (
        Measure(
            "inFlight",
            "loraplex_scaling_in_flight",
            in_flight(scope),
            "Generations in progress or waiting, over all replicas, mean of a minute.",
        ),
        Measure(
            "queue",
            "loraplex_scaling_queue",
            queue(scope),
            "Generations that wait for their adapter or for the engine, over all replicas, mean of a minute.",
        ),
        Measure(
            "ttft",
            "loraplex_scaling_ttft_seconds",
            late_replicas(scope),
            "95th percentile of the time to first token of three minutes, times the replicas that streamed answers.",
        ),
    )


def _or_idle(scope: Scope, query: Query) -> Query:
    # Every replica tells of its catalog from its first scrape on; the others appear with the first request.
    return query.or_zero_of(scope.now(CATALOG_REACHABLE))
