"""What the dashboards share: the choices at their top, and the queries that keep to them."""

from monitoring.catalogue import CATALOG_REACHABLE, REQUESTS, MetricSpec
from monitoring.dashboards.grafana import Target, Variable
from monitoring.dashboards.promql import Match, Scope, chosen, differs

_WINDOW = "$__rate_interval"
"""Grafana's: four scrapes at least, more where a pixel is longer."""

EVERY_JOB = Scope(Match("=~", ".+"), _WINDOW)
ALL = Scope(chosen("job"), _WINDOW)
TASKS = Scope(chosen("job"), _WINDOW, {"task": chosen("task")})
CALLERS = Scope(chosen("job"), _WINDOW, {"task": chosen("task"), "role": differs("shadow")})
"""What callers got: copies for a shadow, which nobody waits for, are left out."""
ANSWERS = Scope(chosen("job"), _WINDOW, {"task": chosen("task"), "adapter": chosen("adapter")})

JOB = Variable("job", "Job", EVERY_JOB.series(CATALOG_REACHABLE), "job")
TASK = Variable("task", "Task", ALL.series(REQUESTS), "task")
ADAPTER = Variable("adapter", "Version", TASKS.series(REQUESTS), "adapter")


def quantiles(scope: Scope, spec: MetricSpec, *by: str, legend: str, **where: Match) -> tuple[Target, ...]:
    """The median and the 95th percentile of a histogram, with exemplars at the latter."""
    return (
        Target(scope.quantile(0.5, spec, *by, over="", **where), f"{legend} p50"),
        Target(scope.quantile(0.95, spec, *by, over="", **where), f"{legend} p95", exemplars=True),
    )
