"""Adapters and residency: what is loaded where, what loading costs, and what leaves for what."""

from monitoring.catalogue import (
    ADAPTER_IN_FLIGHT,
    ADAPTER_LOAD,
    ADAPTER_LOAD_FAILURES,
    ADAPTER_RESIDENT,
    ADAPTER_SWAPS,
    ADAPTER_UNLOADS,
    ADAPTER_WAIT,
    JOB_SILENCE,
    ROLLOUT_PHASE,
    ROLLOUT_SHARE,
    WAITING,
)
from monitoring.dashboards.boards.scopes import ADAPTER, ANSWERS, JOB, TASK, quantiles
from monitoring.dashboards.grafana import Dashboard, Panel, Row, Step, Target
from monitoring.dashboards.promql import equals, one_of

_HELD = Row(
    "What is held",
    (
        Panel(
            "Replicas that hold a version",
            "Ready in the engine. A version in a role should be held by all of them.",
            (Target(ANSWERS.now(ADAPTER_RESIDENT, "adapter", status=equals("ready")), "{{adapter}}"),),
            "none",
            "bargauge",
        ),
        Panel(
            "Versions by replica and tier",
            "slot: takes part in batches at once; cpu: copied into a slot on use; disk, store: not in the engine.",
            (Target(ANSWERS.now(ADAPTER_RESIDENT, "replica", "tier"), "{{replica}} {{tier}}"),),
            "none",
            stacked=True,
        ),
        Panel(
            "Not ready",
            "loading, draining, or failed: told to be held, and cannot be. failed for five minutes raises "
            "LoraplexSwapFailing.",
            (
                Target(
                    ANSWERS.now(ADAPTER_RESIDENT, "adapter", "status", status=one_of("loading", "draining", "failed")),
                    "{{adapter}} {{status}}",
                ),
            ),
            "none",
            stacked=True,
        ),
        Panel(
            "Used now",
            "Generations in progress by version.",
            (Target(ANSWERS.now(ADAPTER_IN_FLIGHT, "adapter"), "{{adapter}}"),),
            "none",
            stacked=True,
        ),
    ),
)

_LOADING = Row(
    "Loading",
    (
        Panel(
            "Loads",
            "Versions that came into an engine within ten minutes, by the tier that they came from.",
            (Target(ANSWERS.increase(ADAPTER_LOAD, "adapter", "tier", over="10m"), "{{adapter}} from {{tier}}"),),
            "none",
        ),
        Panel(
            "Time of a load",
            "By the tier that a version came from. The effect probe is a part of it.",
            quantiles(ANSWERS, ADAPTER_LOAD, "tier", legend="{{tier}}"),
            "s",
        ),
        Panel(
            "Failed loads",
            "Within ten minutes, by error code.",
            (Target(ANSWERS.increase(ADAPTER_LOAD_FAILURES, "adapter", "code", over="10m"), "{{adapter}} {{code}}"),),
            "none",
            thresholds=(Step(1, "red"),),
        ),
        Panel(
            "Waiting for an adapter",
            "How long requests waited until their version was ready. Nearly 0 while versions stay resident.",
            quantiles(ANSWERS, ADAPTER_WAIT, "task", legend="{{task}}"),
            "s",
        ),
        Panel(
            "Requests that wait now",
            "By task.",
            (Target(ANSWERS.now(WAITING, "task"), "{{task}}"),),
            "none",
            stacked=True,
        ),
        Panel(
            "Unloads",
            "Within ten minutes. evicted, for another version's sake: many of them say that there are fewer places "
            "than versions in use; retired: nothing needs the version any more.",
            (Target(ANSWERS.increase(ADAPTER_UNLOADS, "adapter", "reason", over="10m"), "{{adapter}} {{reason}}"),),
            "none",
        ),
    ),
)

_ROLLOUTS = Row(
    "Rollouts",
    (
        Panel(
            "Swaps",
            "Changes of what an alias points at, put into effect within ten minutes, over all replicas.",
            (Target(ANSWERS.increase(ADAPTER_SWAPS, "alias", "action", over="10m"), "{{alias}} {{action}}"),),
            "none",
        ),
        Panel(
            "Phases",
            "1 for the phase that the last automatic rollout of an alias is in.",
            (Target(ANSWERS.now(ROLLOUT_PHASE, "alias", "adapter", "phase", how="max"), "{{adapter}} {{phase}}"),),
            "none",
            high=1,
        ),
        Panel(
            "Shares",
            "Share of the callers that an automatic rollout gives to its version.",
            (Target(ANSWERS.now(ROLLOUT_SHARE, "alias", "adapter", how="max"), "{{adapter}}"),),
            "percentunit",
            high=1,
        ),
        Panel(
            "Silence of trainers",
            "For how long the quietest fine-tuning job at work has told nothing. Half an hour raises LoraplexJobStuck.",
            (Target(ANSWERS.now(JOB_SILENCE, how="max"), "quietest job"),),
            "s",
            thresholds=(Step(1800, "red"),),
        ),
    ),
)

ADAPTERS = Dashboard(
    "loraplex-adapters",
    "Loraplex: adapters and residency",
    "What the replicas report that they hold, which is not what the engine's activity suggests.",
    (JOB, TASK, ADAPTER),
    (_HELD, _LOADING, _ROLLOUTS),
)
