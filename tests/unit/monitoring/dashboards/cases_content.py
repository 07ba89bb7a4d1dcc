"""Cases of the alerts about documents, drift, quality and training."""

from monitoring.catalogue import JOB_SILENCE, ROLLOUT_PHASE, ROLLOUT_SHARE
from monitoring.catalogue_knowledge import (
    DOCUMENTS_WAITING,
    EXPIRED_DOCUMENTS,
    INGESTED,
    PASSAGES_WRITTEN,
    RETRIEVALS,
)
from monitoring.catalogue_observing import DRIFT_DETECTED, OBSERVER_UP, QUALITY_CHECKS
from tests.unit.monitoring.dashboards.alert_cases import JOB, Case, Fires, series


def _retrievals(values: str, outcome: str) -> tuple[str, str]:
    return series(RETRIEVALS, values, replica="r0", task="help", outcome=outcome)


def _expired(values: str) -> tuple[str, str]:
    return series(EXPIRED_DOCUMENTS, values, replica="r0", task="help")


def _drift(values: str) -> tuple[str, str]:
    return series(DRIFT_DETECTED, values, replica="r0", task="support", signal="topics")


def _checks(values: str, result: str, adapter: str = "triage@2", role: str = "stable") -> tuple[str, str]:
    return series(
        QUALITY_CHECKS,
        values,
        replica="r0",
        task="labels",
        adapter=adapter,
        role=role,
        check="parse",
        result=result,
    )


def _canary(phase: str, values: str) -> tuple[str, str]:
    return series(ROLLOUT_PHASE, values, replica="r0", alias="triage", adapter="triage@2", phase=phase)


def _share(values: str) -> tuple[str, str]:
    return series(ROLLOUT_SHARE, values, replica="r0", alias="triage", adapter="triage@2")


_DOCUMENTS = (
    Case(
        "LoraplexRetrievalDegraded",
        "the index is away for a quarter of the requests",
        "20m",
        (_retrievals("0+3x30", "found"), _retrievals("0+1x30", "degraded")),
        (Fires({"task": "help"}, "25%"),),
    ),
    Case(
        "LoraplexRetrievalDegraded",
        "nothing relevant is found",
        "20m",
        (_retrievals("0+3x30", "found"), _retrievals("0+1x30", "empty")),
    ),
    Case("LoraplexStaleDocuments", "a document expired", "130m", (_expired("0+1x150"),), (Fires({"task": "help"}),)),
    Case("LoraplexStaleDocuments", "one that was replaced", "130m", (_expired("0+1x10 10+0x150"),)),
    Case(
        "LoraplexIngestionStuck",
        "documents wait and nothing happens",
        "40m",
        (series(DOCUMENTS_WAITING, "3+0x60", replica="knowledge"), series(INGESTED, "7+0x60", replica="knowledge")),
        (Fires(value="3"),),
    ),
    Case(
        "LoraplexIngestionStuck",
        "many wait, and come through one by one",
        "40m",
        (series(DOCUMENTS_WAITING, "300+0x60", replica="knowledge"), series(INGESTED, "7+1x60", replica="knowledge")),
    ),
    Case(
        "LoraplexIngestionStuck",
        "a store is indexed anew",
        "40m",
        (
            series(DOCUMENTS_WAITING, "3+0x60", replica="knowledge"),
            series(PASSAGES_WRITTEN, "0+50x60", replica="knowledge"),
        ),
    ),
)

_OUTPUT = (
    Case(
        "LoraplexDriftDetected",
        "a new topic",
        "20m",
        (_drift("1+0x40"),),
        (Fires({"task": "support", "signal": "topics"}),),
    ),
    Case("LoraplexDriftDetected", "a look that found something by chance", "20m", (_drift("0 0 1 1 0+0x40"),)),
    Case(
        "LoraplexQualityFell",
        "a tenth of the answers is bad, after an hour in which none was",
        "90m",
        (_checks("0+9x90", "ok"), _checks("0+0x60 1+1x30", "bad")),
        (Fires({"job": JOB, "task": "labels", "adapter": "triage@2", "check": "parse"}, "10%"),),
    ),
    Case(
        "LoraplexQualityFell",
        "a tenth of the answers was always bad",
        "90m",
        (_checks("0+9x90", "ok"), _checks("0+1x90", "bad")),
    ),
    Case(
        "LoraplexQualityFell",
        "a tenth of the base model's answers was always bad",
        "90m",
        (_checks("0+9x90", "ok", "base", "base"), _checks("0+1x90", "bad", "base", "base")),
    ),
    Case(
        "LoraplexQualityFell",
        "a canary gives worse answers than the stable version did",
        "90m",
        (
            _checks("0+10x90", "ok"),
            _checks("0+0x60 0+9x30", "ok", "triage@3", "canary"),
            _checks("0+0x60 0+1x30", "bad", "triage@3", "canary"),
        ),
        (Fires({"job": JOB, "task": "labels", "adapter": "triage@3", "check": "parse"}, "10%"),),
    ),
    Case(
        "LoraplexQualityFell",
        "only the copies for a shadow are answered badly",
        "90m",
        (_checks("0+10x90", "ok"), _checks("0+10x90", "bad", "triage@3", "shadow")),
    ),
    Case(
        "LoraplexQualityFell",
        "one of a few answers is bad",
        "90m",
        (_checks("0+0x60 1+0x30", "ok"), _checks("0+0x70 1+0x20", "bad")),
    ),
    Case(
        "LoraplexObserverDown",
        "it ended",
        "10m",
        (series(OBSERVER_UP, "1 0+0x20", replica="r0"), series(OBSERVER_UP, "1+0x20", replica="r1")),
        (Fires({"replica": "r0"}),),
    ),
    Case("LoraplexObserverDown", "it works", "10m", (series(OBSERVER_UP, "1+0x20", replica="r0"),)),
)

_TRAINING = (
    Case(
        "LoraplexJobStuck",
        "a trainer has told nothing for fifty minutes",
        "50m",
        (series(JOB_SILENCE, "0+60x60", replica="control"),),
        (Fires(value="50m 0s"),),
    ),
    Case("LoraplexJobStuck", "no job is at work", "50m", (series(JOB_SILENCE, "0+0x60", replica="control"),)),
    Case(
        "LoraplexRolloutStuck",
        "a canary without enough traffic",
        "780m",
        (_canary("canary", "1+0x800"), _share("0.05+0x800")),
        (Fires({"alias": "triage", "adapter": "triage@2", "phase": "canary"}),),
    ),
    Case(
        "LoraplexRolloutStuck",
        "a canary that took a step",
        "780m",
        (_canary("canary", "1+0x800"), _share("0.05+0x400 0.25+0x400")),
    ),
    Case("LoraplexRolloutStuck", "one that ended", "780m", (_canary("promoted", "1+0x800"), _share("0+0x800"))),
)

CONTENT_CASES = (*_DOCUMENTS, *_OUTPUT, *_TRAINING)
