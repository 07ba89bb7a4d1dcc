"""Error budgets and burn-rate alerts.

A budget is spent over 30 days. An alert looks at how many times faster than that it is spent, over a long window, so
that a blip is none of its business, and over a short one, so that it ends soon after its cause: Beyer et al., "The
Site Reliability Workbook" (2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from monitoring.catalogue import SLO_REQUESTS
from monitoring.dashboards.promql import Query, Scope, equals
from monitoring.dashboards.recorded import LONG_WINDOWS, SHORT_WINDOWS, SLO_BAD, SLO_BUDGET, SLO_COUNT
from monitoring.dashboards.rules import Alert, Group, Recording, Severity
from monitoring.slo import BAD, Objective

ALERT = "LoraplexErrorBudgetBurn"

_BUDGET_HOURS = 30 * 24
_SLOW_INTERVAL = "2m"
"""A sample is looked back for over five minutes: at that interval alerts would find none now and then, and their wait
would begin anew."""


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast is too fast."""

    factor: float
    """Times the rate at which the budget lasts exactly 30 days."""
    long: str
    short: str
    wait: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Watched:
    """What an alert says of one objective; text and queries stand for what a template fills in."""

    task: str
    slo: str
    bound: Query | float
    """The share of bad requests above which it fires."""
    percent: str
    """The budget, for people."""
    min_requests: Query | float


BURNS = (
    Burn(14.4, "1h", "5m", "2m", "page"),
    Burn(6, "6h", "30m", "2m", "page"),
    Burn(3, "1d", "2h", "15m", "ticket"),
    Burn(1, "3d", "6h", "15m", "ticket"),
)
"""The workbook's: 2 % of the budget within an hour, 5 % within 6, 10 % within a day, 10 % within 3 days."""


def slo_recordings(scope: Scope) -> tuple[Group, ...]:
    """The shares and counts that budgets and alerts are read from, for whatever tasks have objectives."""
    short = [_bad(scope, window) for window in SHORT_WINDOWS]
    counts = [_count(scope, window) for window in SLO_COUNT]
    return (
        Group("loraplex-slo", (*short, *counts)),
        Group("loraplex-slo-days", tuple(_bad(scope, window) for window in LONG_WINDOWS), _SLOW_INTERVAL),
    )


def slo_groups(scope: Scope, objectives: Iterable[Objective]) -> tuple[Group, ...]:
    """A group for each objective: its budget, and its alerts. One that could never fire is left out."""
    return tuple(
        Group(f"loraplex-slo-{one.task}-{one.slo}", (_budget(scope, one), *_alerts(scope, one))) for one in objectives
    )


def _bad(scope: Scope, window: str) -> Recording:
    by = ("job", "task", "slo")
    bad = scope.rate(SLO_REQUESTS, *by, over=window, result=equals(BAD))
    return Recording(SLO_BAD[window], bad.over(scope.rate(SLO_REQUESTS, *by, over=window)))


def _count(scope: Scope, window: str) -> Recording:
    return Recording(SLO_COUNT[window], scope.increase(SLO_REQUESTS, "job", "task", "slo", over=window))


def slo_alert(scope: Scope, burn: Burn, of: Watched) -> Alert:
    """The alert on one objective for one speed."""
    where = {"task": equals(of.task), "slo": equals(of.slo)}
    query = scope.series(SLO_BAD[burn.long], **where).above(of.bound)
    query = query.and_(scope.series(SLO_BAD[burn.short], **where).above(of.bound))
    if of.min_requests:
        query = query.and_(scope.series(SLO_COUNT[burn.long], **where).at_least(of.min_requests))
    return Alert(
        ALERT,
        query,
        burn.wait,
        burn.severity,
        "{{ $labels.task }} spends its error budget for {{ $labels.slo }} "
        f"{burn.factor:g} times as fast as it can afford, or faster",
        f"{{{{ $value | humanizePercentage }}}} of the requests of the last {burn.long} were bad; "
        f"{of.percent} may be, over 30 days. At {burn.factor:g} times that rate the budget is "
        f"gone in {_BUDGET_HOURS / burn.factor:.0f} hours.",
        {"task": of.task, "slo": of.slo, "long": burn.long, "short": burn.short},
    )


def slo_budget(scope: Scope, task: str, slo: str, budget: str) -> Recording:
    """The budget of one objective, a number, as a series."""
    return Recording(
        SLO_BUDGET, Query(f"vector({budget})", frozenset()), {"job": scope.job.value, "task": task, "slo": slo}
    )


def _budget(scope: Scope, objective: Objective) -> Recording:
    return slo_budget(scope, objective.task, objective.slo, f"{objective.budget:.12g}")


def _alerts(scope: Scope, objective: Objective) -> Iterator[Alert]:
    percent = f"{100 * objective.budget:.6g} %"
    for burn in BURNS:
        bound = burn.factor * objective.budget
        if bound < 1:  # else not even failing every request spends it so fast
            watched = Watched(objective.task, objective.slo, bound, percent, objective.min_requests)
            yield slo_alert(scope, burn, watched)
