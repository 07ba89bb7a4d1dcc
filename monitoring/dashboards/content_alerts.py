"""The alerts about what goes in and what comes out: documents, drift, quality, training."""

from monitoring.catalogue import JOB_SILENCE, ROLLOUT_PHASE, ROLLOUT_SHARE
from monitoring.catalogue_knowledge import (
    DOCUMENTS_WAITING,
    EXPIRED_DOCUMENTS,
    INGEST_FAILURES,
    INGESTED,
    PASSAGES_WRITTEN,
    RETRIEVALS,
)
from monitoring.catalogue_observing import DRIFT_DETECTED, OBSERVER_UP
from monitoring.dashboards.promql import Query, Scope, one_of
from monitoring.dashboards.quality_rules import quality_fell
from monitoring.dashboards.rules import Alert, Group

_MOST_WITHOUT = 0.05
_LEAST_RETRIEVALS = 10
_SILENCE_S = 1800.0
_GOING_ON = one_of("examining", "shadow", "canary", "promoting", "rolling_back")
_STUCK = "12h"
_STEP = "1h"
"""Within it a step of a canary counts as progress: the wait begins anew behind it."""


def retrieval_alerts(scope: Scope) -> Group:
    """Whether documents are read, fresh and found."""
    without = scope.share(RETRIEVALS, "task", over="10m", outcome=one_of("degraded", "failed"))
    enough = scope.increase(RETRIEVALS, "task", over="10m").at_least(_LEAST_RETRIEVALS)
    return Group(
        "loraplex-retrieval",
        (
            Alert(
                "LoraplexRetrievalDegraded",
                without.above(_MOST_WITHOUT).and_(enough),
                "5m",
                "page",
                "{{ $labels.task }} cannot search its documents",
                "{{ $value | humanizePercentage }} of its requests of the last 10 minutes were answered without "
                "passages, or refused, because the search was down.",
            ),
            Alert(
                "LoraplexStaleDocuments",
                scope.increase(EXPIRED_DOCUMENTS, "task", over="1h").above(0),
                "1h",
                "ticket",
                "{{ $labels.task }} searches a knowledge base with expired documents",
                "Searches leave them out, so questions that only they answer are not answered any more.",
            ),
            Alert(
                "LoraplexIngestionStuck",
                _ingestion_stuck(scope),
                "30m",
                "ticket",
                "Documents wait, and none becomes searchable",
                "{{ $value }} documents wait. For half an hour none was ingested, none failed and no passage was "
                "written.",
            ),
        ),
    )


def output_alerts(scope: Scope) -> Group:
    """Whether inputs and outputs are what they were."""
    return Group(
        "loraplex-output",
        (
            Alert(
                "LoraplexDriftDetected",
                scope.now(DRIFT_DETECTED, "task", "signal", how="max").equal_to(1),
                "15m",
                "ticket",
                "The {{ $labels.signal }} of {{ $labels.task }} is not what it was",
                "The requests of the live window differ from the reference window by more than the configured rate of "
                "false alarms explains.",
            ),
            Alert(
                "LoraplexQualityFell",
                quality_fell(scope),
                "",
                "page",
                "{{ $labels.adapter }} gives worse answers for {{ $labels.task }}: {{ $labels.check }}",
                "The check {{ $labels.check }} finds {{ $value | humanizePercentage }} of its answers of half an hour "
                "bad: more than is usual for this task, and more than chance explains.",
            ),
            Alert(
                "LoraplexObserverDown",
                scope.now(OBSERVER_UP, "replica", how="min").equal_to(0),
                "5m",
                "ticket",
                "{{ $labels.replica }} does not look at its answers any more",
                "Requests are served as before. Drift and quality of what this replica answers are not measured.",
            ),
        ),
    )


def training_alerts(scope: Scope) -> Group:
    """Whether new versions get made and rolled out."""
    return Group(
        "loraplex-training",
        (
            Alert(
                "LoraplexJobStuck",
                scope.now(JOB_SILENCE, how="max").above(_SILENCE_S),
                "5m",
                "ticket",
                "A fine-tuning job does not get on",
                "Its trainer has told nothing for {{ $value | humanizeDuration }}, and is neither ended nor paused.",
            ),
            Alert(
                "LoraplexRolloutStuck",
                _rollout_stuck(scope),
                _STUCK,
                "ticket",
                "The rollout of {{ $labels.adapter }} does not get on",
                f"It has been in the phase {{{{ $labels.phase }}}} for {_STUCK} without another step.",
            ),
        ),
    )


def _ingestion_stuck(scope: Scope) -> Query:
    query = scope.now(DOCUMENTS_WAITING).above(0)
    for progress in (INGESTED, INGEST_FAILURES, PASSAGES_WRITTEN):
        query = query.unless(scope.increase(progress, over="30m").above(0))
    return query


def _rollout_stuck(scope: Scope) -> Query:
    going_on = scope.now(ROLLOUT_PHASE, "alias", "adapter", "phase", how="max", phase=_GOING_ON).equal_to(1)
    stepped = scope.window_of(ROLLOUT_SHARE, "changes", _STEP).folded("max", "alias", "adapter").above(0)
    return going_on.unless(stepped, on=("alias", "adapter"))
