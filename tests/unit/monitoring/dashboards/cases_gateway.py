"""Cases of the alerts about the gateway, its engine and its adapters."""

from monitoring.catalogue import (
    ADAPTER_LOAD_FAILURES,
    ADAPTER_RESIDENT,
    CATALOG_REACHABLE,
    ENGINE_SERIES_MISSING,
    REQUESTS,
    SILENT_REPLICAS,
    WAITING,
)
from monitoring.dashboards.foreign import ENGINE_KV_CACHE, ENGINE_WAITING, UP
from tests.unit.monitoring.dashboards.alert_cases import JOB, Case, Fires, series


def _requests(values: str, outcome: str, role: str = "stable") -> tuple[str, str]:
    return series(REQUESTS, values, replica="r0", task="support", adapter="triage@1", role=role, outcome=outcome)


def _waiting(values: str) -> tuple[str, str]:
    return series(ENGINE_WAITING, values, replica="r0", model_name="base", engine="0")


_DOWN = (
    Case(
        "LoraplexGatewayDown",
        "no target answers",
        "5m",
        (series(UP, "1 1 0+0x10", instance="r0"), series(UP, "1 0+0x10", instance="r1")),
        (Fires({"job": JOB}),),
    ),
    Case(
        "LoraplexGatewayDown",
        "one of two replicas does not answer",
        "5m",
        (series(UP, "1 1 0+0x10", instance="r0"), series(UP, "1+0x10", instance="r1")),
    ),
    Case("LoraplexGatewayDown", "there is no target at all", "5m", (), (Fires({"job": JOB}),)),
    Case(
        "LoraplexGatewayDown",
        "no replica answers, though the process that runs the control plane does",
        "5m",
        (series(UP, "1 1 0+0x10", instance="r0"), series(UP, "1+0x10", instance="control-0", part="control")),
        (Fires({"job": JOB}),),
    ),
    Case("LoraplexGatewayDown", "it answers", "5m", (series(UP, "1+0x10", instance="a:8000"),)),
    Case("LoraplexGatewayDown", "one scrape failed", "5m", (series(UP, "1 1 0 1 1 1 1", instance="a:8000"),)),
    Case(
        "LoraplexReplicaSilent",
        "a replica does not answer the others",
        "10m",
        (series(SILENT_REPLICAS, "1+0x20", replica="r0"),),
        (Fires(value="1"),),
    ),
    Case(
        "LoraplexReplicaSilent",
        "a replica that is a target does not answer Prometheus",
        "10m",
        (series(UP, "0+0x20", instance="r0"), series(UP, "1+0x20", instance="r1")),
        (Fires(value="1"),),
    ),
    Case(
        "LoraplexReplicaSilent",
        "none answers, which wakes somebody by another name",
        "10m",
        (series(UP, "0+0x20", instance="r0"),),
    ),
    Case(
        "LoraplexReplicaSilent",
        "a replica restarted",
        "10m",
        (series(SILENT_REPLICAS, "0 0 1 1 0+0x20", replica="r0"),),
    ),
    Case(
        "LoraplexCatalogUnreachable",
        "the database is away",
        "10m",
        (series(CATALOG_REACHABLE, "1 0+0x20", replica="r0"), series(CATALOG_REACHABLE, "1+0x20", replica="r1")),
        (Fires({"replica": "r0"}),),
    ),
    Case("LoraplexCatalogUnreachable", "it can be read", "10m", (series(CATALOG_REACHABLE, "1+0x20", replica="r0"),)),
)

_ERRORS = (
    Case(
        "LoraplexErrorRate",
        "a tenth fails",
        "20m",
        (_requests("0+9x30", "ok"), _requests("0+1x30", "server_error")),
        (Fires({"task": "support"}, "10%"),),
    ),
    Case(
        "LoraplexErrorRate",
        "a tenth is the callers' own doing",
        "20m",
        (_requests("0+9x30", "ok"), _requests("0+1x30", "client_error")),
    ),
    Case(
        "LoraplexErrorRate",
        "only the copies for a shadow fail",
        "20m",
        (_requests("0+9x30", "ok"), _requests("0+9x30", "server_error", "shadow")),
    ),
    Case(
        "LoraplexErrorRate",
        "one of three requests at night fails",
        "20m",
        (_requests("0+0x14 1 2 2+0x20", "ok"), _requests("0+0x14 1+0x20", "timeout")),
    ),
)

_QUEUES = (
    Case(
        "LoraplexQueueGrowing",
        "more comes than goes",
        "30m",
        (_waiting("0+2x40"),),
        (Fires({"replica": "r0"}, "60"),),
    ),
    Case("LoraplexQueueGrowing", "a long queue that does not grow", "30m", (_waiting("20+0x40"),)),
    Case("LoraplexQueueGrowing", "a short one that does", "30m", (_waiting("0 0 0+0x20 1 2 3 4 5 6 7"),)),
    Case(
        "LoraplexAdapterQueueGrowing",
        "loading does not keep up",
        "20m",
        (series(WAITING, "0+1x40", replica="r0", task="support"),),
        (Fires({"task": "support"}, "20"),),
    ),
    Case(
        "LoraplexAdapterQueueGrowing",
        "a load that takes a while",
        "20m",
        (series(WAITING, "0 5 9 0+0x40", replica="r0", task="support"),),
    ),
)

_ENGINE_SERIES = (
    Case(
        "LoraplexEngineSeriesMissing",
        "vLLM renamed one",
        "20m",
        (series(ENGINE_SERIES_MISSING, "1+0x30", replica="r0", series=ENGINE_KV_CACHE.name),),
        (Fires({"replica": "r0", "series": ENGINE_KV_CACHE.name}),),
    ),
    Case(
        "LoraplexEngineSeriesMissing",
        "a replica of the old release is on its way out",
        "20m",
        (series(ENGINE_SERIES_MISSING, "1+0x3", replica="r0", series=ENGINE_KV_CACHE.name),),
    ),
)

_ADAPTERS = (
    Case(
        "LoraplexAdapterLoadFailures",
        "every load fails",
        "20m",
        (series(ADAPTER_LOAD_FAILURES, "0+1x30", replica="r0", adapter="triage@2", code="adapter_load_failed"),),
        (Fires({"adapter": "triage@2", "code": "adapter_load_failed"}, "15"),),
    ),
    Case(
        "LoraplexAdapterLoadFailures",
        "one load failed",
        "20m",
        (series(ADAPTER_LOAD_FAILURES, "0+0x9 1+0x30", replica="r0", adapter="triage@2", code="adapter_load_failed"),),
    ),
    Case(
        "LoraplexSwapFailing",
        "two replicas cannot hold what they should",
        "10m",
        tuple(
            series(ADAPTER_RESIDENT, "1+0x20", replica=replica, adapter="triage@2", tier="disk", status="failed")
            for replica in ("r0", "r1")
        ),
        (Fires({"adapter": "triage@2"}, "2"),),
    ),
    Case(
        "LoraplexSwapFailing",
        "it is still loading",
        "10m",
        (series(ADAPTER_RESIDENT, "1+0x20", replica="r0", adapter="triage@2", tier="disk", status="loading"),),
    ),
)

GATEWAY_CASES = (*_DOWN, *_ERRORS, *_QUEUES, *_ENGINE_SERIES, *_ADAPTERS)
