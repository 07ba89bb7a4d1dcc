"""What a run of autoscaling showed, moment by moment, and what it must not show. Pure: judged after the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

_READY = "ready"


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at the installation. ``at``: seconds since the run began."""

    at: float
    states: Mapping[str, str]
    """The gateway's replicas as Ray tells them: identifier → state."""
    answered: Mapping[str, int]
    """Replica → generations that it has finished."""
    held: Mapping[str, frozenset[str]]
    """Replica → adapter versions that it holds ready."""

    @property
    def running(self) -> int:
        """Replicas that Ray sends requests to."""
        return sum(state == "RUNNING" for state in self.states.values())


def read_metrics(text: str) -> tuple[dict[str, int], dict[str, frozenset[str]]]:
    """What one scrape says: generations by replica, and the versions that each replica holds ready."""
    answered: dict[str, int] = {}
    held: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            replica = sample.labels.get("replica", "")
            if sample.name == "loraplex_requests_total":
                answered[replica] = answered.get(replica, 0) + int(sample.value)
            elif sample.name == "loraplex_adapter_resident" and sample.value and sample.labels["status"] == _READY:
                held.setdefault(replica, set()).add(sample.labels["adapter"])
    return answered, {replica: frozenset(versions) for replica, versions in held.items()}


def unprepared(moments: Sequence[Moment], version: str) -> list[str]:
    """Replicas that answered although they did not hold ``version``, as one and the same scrape says."""
    found = []
    for moment in moments:
        for replica, count in moment.answered.items():
            if count and version not in moment.held.get(replica, ()):
                found.append(f"after {moment.at:.1f} s {replica} had answered {count} requests without {version}")
    return found


def first_seen(moments: Sequence[Moment], version: str) -> dict[str, dict[str, float | None]]:
    """For each replica, when it was first seen to hold ``version`` and when to have answered, in seconds."""
    names = sorted({name for moment in moments for name in (*moment.held, *moment.answered)})
    return {
        name: {
            "holds_s": _first(moments, lambda one, name=name: version in one.held.get(name, ())),
            "answers_s": _first(moments, lambda one, name=name: one.answered.get(name, 0) > 0),
        }
        for name in names
    }


def changes(moments: Sequence[Moment]) -> list[dict[str, Any]]:
    """The moments at which the states of Ray's replicas changed, as counts."""
    told: list[dict[str, Any]] = []
    for moment in moments:
        counts: dict[str, int] = {}
        for state in moment.states.values():
            counts[state] = counts.get(state, 0) + 1
        if not told or told[-1]["replicas"] != counts:
            told.append({"at_s": round(moment.at, 1), "replicas": counts})
    return told


def wanted(value: float, target: float) -> int:
    """How many replicas an autoscaler makes of a measure's total: at least one."""
    return max(1, math.ceil(value / target - 1e-9))


def _first(moments: Sequence[Moment], holds: Any) -> float | None:
    return next((round(moment.at, 1) for moment in moments if holds(moment)), None)
