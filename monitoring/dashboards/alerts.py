"""The alerts that every gateway has. Each has a page of its name in docs/runbooks."""

from monitoring.catalogue import (
    ADAPTER_LOAD_FAILURES,
    ADAPTER_RESIDENT,
    CATALOG_REACHABLE,
    ENGINE_SERIES_MISSING,
    REQUESTS,
    SILENT_REPLICAS,
    WAITING,
)
from monitoring.dashboards.foreign import ENGINE_WAITING, UP
from monitoring.dashboards.promql import Query, Scope, differs, equals, one_of
from monitoring.dashboards.rules import Alert, Group
from monitoring.spec import FAILED_OUTCOMES

FAILED = one_of(*FAILED_OUTCOMES)
"""Outcomes of requests that are the gateway's own doing."""

_MOST_FAILED = 0.05
_LEAST_REQUESTS = 20
_LONG_QUEUE = 8
_LONG_ADAPTER_QUEUE = 4
_MOST_LOAD_FAILURES = 2


def gateway_alerts(scope: Scope) -> Group:
    """Whether it answers."""
    return Group(
        "loraplex-gateway",
        (
            Alert(
                "LoraplexGatewayDown",
                _down(scope),
                "2m",
                "page",
                "No scrape of the gateway succeeds",
                "No target of the job {{ $labels.job }} answers Prometheus, or there is none. Requests most likely "
                "fail too.",
            ),
            Alert(
                "LoraplexReplicaSilent",
                _silent(scope),
                "5m",
                "ticket",
                "Replicas of the gateway do not tell their metrics",
                "{{ $value }} of those that should did not answer the scrape: what they did is missing from every "
                "panel and alert.",
            ),
            _error_rate(scope),
            Alert(
                "LoraplexCatalogUnreachable",
                scope.now(CATALOG_REACHABLE, "replica", how="min").equal_to(0),
                "5m",
                "ticket",
                "{{ $labels.replica }} cannot read the adapter catalog",
                "It goes on serving by the last state that it read. Promotions, rollbacks and new adapters do not "
                "reach it.",
            ),
            _engine_queue(scope),
            _engine_series(scope),
        ),
    )


def adapter_alerts(scope: Scope) -> Group:
    """Whether adapters come and go as they should."""
    failed = scope.increase(ADAPTER_LOAD_FAILURES, "adapter", "code", over="15m")
    waiting = scope.now(WAITING, "task")
    growing = scope.window_of(WAITING, "deriv", "10m").folded("sum", "task")
    return Group(
        "loraplex-adapters",
        (
            Alert(
                "LoraplexAdapterLoadFailures",
                failed.above(_MOST_LOAD_FAILURES),
                "",
                "ticket",
                "{{ $labels.adapter }} fails to load: {{ $labels.code }}",
                "{{ $value | humanize }} of its loads failed within 15 minutes, over all replicas.",
            ),
            Alert(
                "LoraplexSwapFailing",
                scope.now(ADAPTER_RESIDENT, "adapter", status=equals("failed")).above(0),
                "5m",
                "page",
                "{{ $labels.adapter }} has a role and cannot be loaded",
                "{{ $value }} replicas were told to hold this version, and cannot. A promotion of it does not finish; "
                "if it is stable already, requests for it fail there.",
            ),
            Alert(
                "LoraplexAdapterQueueGrowing",
                waiting.above(_LONG_ADAPTER_QUEUE).and_(growing.above(0)),
                "5m",
                "ticket",
                "More and more requests of {{ $labels.task }} wait for their adapter",
                "{{ $value }} of them wait. Either loading takes too long, or there are fewer places in the engine "
                "than adapters in use.",
            ),
        ),
    )


def _down(scope: Scope) -> Query:
    """No replica answers. That a part of the gateway does, which runs apart, is no help to those who ask it."""
    none = equals("")
    return scope.now(UP, "job", how="max", part=none).equal_to(0).or_(scope.series(UP, part=none).through("absent"))


def _silent(scope: Scope) -> Query:
    """Replicas that did not answer the one that was scraped, or the scrape, where each is a target of its own."""
    down = scope.series(UP).equal_to(0).folded("count").unless(scope.now(UP, how="max").equal_to(0))
    return scope.now(SILENT_REPLICAS, how="max").above(0).or_(down)


def _error_rate(scope: Scope) -> Alert:
    # A copy for a shadow that fails is no caller's trouble.
    answers = Scope(scope.job, scope.window, {**scope.fixed, "role": differs("shadow")})
    share = answers.share(REQUESTS, "task", over="10m", outcome=FAILED)
    enough = answers.increase(REQUESTS, "task", over="10m").at_least(_LEAST_REQUESTS)
    return Alert(
        "LoraplexErrorRate",
        share.above(_MOST_FAILED).and_(enough),
        "5m",
        "page",
        "Requests of {{ $labels.task }} fail",
        "{{ $value | humanizePercentage }} of its requests of the last 10 minutes failed on the gateway's side: engine "
        "errors, time limits, overload or an adapter that was not to be had.",
    )


def _engine_queue(scope: Scope) -> Alert:
    waiting = scope.now(ENGINE_WAITING, "replica")
    growing = scope.window_of(ENGINE_WAITING, "deriv", "10m").folded("sum", "replica")
    return Alert(
        "LoraplexQueueGrowing",
        waiting.above(_LONG_QUEUE).and_(growing.above(0)),
        "10m",
        "page",
        "The engine of {{ $labels.replica }} gets more than it can do",
        "{{ $value }} requests wait for a place in its batch, and their number has grown for ten minutes.",
    )


def _engine_series(scope: Scope) -> Alert:
    return Alert(
        "LoraplexEngineSeriesMissing",
        scope.now(ENGINE_SERIES_MISSING, "replica", "series", how="max").equal_to(1),
        "5m",
        "ticket",
        "{{ $labels.replica }} runs vLLM and does not tell {{ $labels.series }}",
        "Panels and alerts that read it are blind. vLLM renames its series between versions.",
    )
