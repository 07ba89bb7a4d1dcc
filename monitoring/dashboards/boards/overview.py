"""Overview: is it well, and if not, where."""

from monitoring.catalogue import (
    ADAPTER_SWAPS,
    CATALOG_REACHABLE,
    COMPLETION_TOKENS,
    DURATION,
    IN_FLIGHT,
    JOBS,
    LOG_LINES_LOST,
    OVERHEAD,
    PROMPT_TOKENS,
    REFUSED,
    REQUESTS,
    ROLLOUT_DECISIONS,
    ROLLOUT_SHARE,
    SILENT_REPLICAS,
    SPANS,
    TTFT,
    WAITING,
)
from monitoring.dashboards.alerts import FAILED
from monitoring.dashboards.boards.scopes import CALLERS, JOB, TASK, TASKS, quantiles
from monitoring.dashboards.grafana import Dashboard, Panel, Row, Step, Target
from monitoring.dashboards.recorded import SLO_BAD, SLO_BUDGET

_FAILURES = (Step(0.01, "yellow"), Step(0.05, "red"))

_NOW = Row(
    "Now",
    (
        Panel(
            "Requests",
            "Generations that ended, per second. Copies for shadows are left out, here and of failures and latencies.",
            (Target(CALLERS.rate(REQUESTS)),),
            "reqps",
            "stat",
            width=3,
            height=4,
        ),
        Panel(
            "Failed",
            "Share of requests that failed on the gateway's side: engine errors, time limits, overload, an adapter "
            "that was not to be had. More than 5 % of a task's raises LoraplexErrorRate.",
            (Target(CALLERS.share(REQUESTS, outcome=FAILED)),),
            "percentunit",
            "stat",
            _FAILURES,
            width=3,
            height=4,
        ),
        Panel(
            "First token, p95",
            "95 % of the streamed answers began within this time after their request arrived.",
            (Target(CALLERS.quantile(0.95, TTFT)),),
            "s",
            "stat",
            width=3,
            height=4,
        ),
        Panel(
            "Whole answer, p95",
            "95 % of the answers were complete within this time after their request arrived.",
            (Target(CALLERS.quantile(0.95, DURATION)),),
            "s",
            "stat",
            width=3,
            height=4,
        ),
        Panel(
            "In flight",
            "Generations in progress.",
            (Target(TASKS.now(IN_FLIGHT)),),
            "none",
            "stat",
            width=3,
            height=4,
        ),
        Panel(
            "Waiting for an adapter",
            "Generations whose adapter version is still being loaded.",
            (Target(TASKS.now(WAITING)),),
            "none",
            "stat",
            (Step(1, "yellow"), Step(5, "red")),
            width=3,
            height=4,
        ),
        Panel(
            "Silent replicas",
            "Replicas that reported lately and did not answer the scrape. Their part is missing from every panel.",
            (Target(TASKS.now(SILENT_REPLICAS, how="max")),),
            "none",
            "stat",
            (Step(1, "red"),),
            width=3,
            height=4,
        ),
        Panel(
            "Catalog",
            "1 while every replica can read the adapter catalog; 0: one of them serves by the last state that it read.",
            (Target(TASKS.now(CATALOG_REACHABLE, how="min")),),
            "none",
            "stat",
            (Step(1, "green"),),
            below="red",
            width=3,
            height=4,
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Requests by task",
            "Generations that ended, per second.",
            (Target(CALLERS.rate(REQUESTS, "task"), "{{task}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Requests by outcome",
            "How they ended. contract_violated: the answer did not have the shape that its task promises; cancelled: "
            "the caller went away.",
            (Target(CALLERS.rate(REQUESTS, "outcome"), "{{outcome}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Refused before a model was known",
            "By error code: unknown names, wrong keys, bodies that are no requests.",
            (Target(TASKS.rate(REFUSED, "code"), "{{code}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Failed by task",
            "Share of a task's requests that failed on the gateway's side.",
            (Target(CALLERS.share(REQUESTS, "task", outcome=FAILED), "{{task}}"),),
            "percentunit",
            thresholds=_FAILURES,
        ),
        Panel(
            "Tokens",
            "Read and written, per second, copies for shadows included.",
            (
                Target(TASKS.rate(PROMPT_TOKENS), "prompt"),
                Target(TASKS.rate(COMPLETION_TOKENS), "completion"),
            ),
            "cps",
        ),
        Panel(
            "In flight by task",
            "Generations in progress.",
            (Target(TASKS.now(IN_FLIGHT, "task"), "{{task}}"),),
            "none",
            stacked=True,
        ),
    ),
)

_LATENCY = Row(
    "Latency",
    (
        Panel(
            "First token",
            "From the arrival of a request to the first token of its streamed answer.",
            quantiles(CALLERS, TTFT, "task", legend="{{task}}"),
            "s",
        ),
        Panel(
            "Whole answer",
            "From the arrival of a request to the end of its answer.",
            quantiles(CALLERS, DURATION, "task", legend="{{task}}"),
            "s",
        ),
        Panel(
            "The gateway's own part",
            "Time that is neither the engine's, nor retrieval's, nor an adapter's, nor the client's. Of shadows too.",
            quantiles(TASKS, OVERHEAD, "task", legend="{{task}}"),
            "s",
        ),
    ),
)

_LEVELS = Row(
    "Service levels",
    (
        Panel(
            "Error budget spent, 30 days",
            "1 is all of it. Empty where no task has objectives: `slo:` of a task, and rules made with "
            "`loraplex dashboards build --config`.",
            (Target(TASKS.series(SLO_BAD["30d"]).over(TASKS.series(SLO_BUDGET)), "{{task}} {{slo}}"),),
            "percentunit",
            "bargauge",
            (Step(0.75, "yellow"), Step(1, "red")),
            width=12,
            high=1,
        ),
        Panel(
            "Burn rate, one hour",
            "How many times faster than it can be afforded the budget is spent: 1 lasts exactly 30 days, 14.4 pages.",
            (Target(TASKS.series(SLO_BAD["1h"]).over(TASKS.series(SLO_BUDGET)), "{{task}} {{slo}}"),),
            "short",
            thresholds=(Step(1, "yellow"), Step(14.4, "red")),
            width=12,
        ),
    ),
)

_CHANGES = Row(
    "What changed",
    (
        Panel(
            "Swaps",
            "Changes of what an alias points at, put into effect by replicas within the last ten minutes.",
            (Target(TASKS.increase(ADAPTER_SWAPS, "alias", "action", over="10m"), "{{alias}} {{action}}"),),
            "none",
        ),
        Panel(
            "Canaries",
            "Share of the callers that an automatic rollout gives to its version.",
            (Target(TASKS.now(ROLLOUT_SHARE, "alias", "adapter", how="max"), "{{adapter}}"),),
            "percentunit",
            high=1,
        ),
        Panel(
            "Rollout decisions",
            "Phases that automatic rollouts entered, and steps of their canaries, within the last ten minutes.",
            (Target(TASKS.increase(ROLLOUT_DECISIONS, "alias", "decision", over="10m"), "{{alias}} {{decision}}"),),
            "none",
        ),
        Panel(
            "Fine-tuning jobs",
            "Jobs that have not ended, by status.",
            (Target(TASKS.now(JOBS, "status", how="max"), "{{status}}"),),
            "none",
            stacked=True,
        ),
    ),
)

_TOLD = Row(
    "Traces and logs",
    (
        Panel(
            "Spans",
            "exported, failed: the collector did not take them; dropped: more waited than may. Per second; empty where "
            "tracing is off.",
            (Target(TASKS.rate(SPANS, "result"), "{{result}}"),),
            "cps",
            width=12,
            stacked=True,
        ),
        Panel(
            "Log lines lost",
            "Lines that were never written, because a replica's disk was too slow or full, within ten minutes.",
            (Target(TASKS.increase(LOG_LINES_LOST, "replica", over="10m"), "{{replica}}"),),
            "none",
            width=12,
            thresholds=(Step(1, "red"),),
        ),
    ),
)

OVERVIEW = Dashboard(
    "loraplex-overview",
    "Loraplex: overview",
    "Is the gateway well, and if not, which task, and since when.",
    (JOB, TASK),
    (_NOW, _TRAFFIC, _LATENCY, _LEVELS, _CHANGES, _TOLD),
)
