"""One frame of ``loraplex top``, as data: two scrapes and their difference, and what the admin API says. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from monitoring.catalogue import (
    ADAPTER_IN_FLIGHT,
    ADAPTER_RESIDENT,
    CATALOG_REACHABLE,
    COMPLETION_TOKENS,
    DURATION,
    IN_FLIGHT,
    REQUESTS,
    ROLLOUT_PHASE,
    ROLLOUT_SHARE,
    SILENT_REPLICAS,
    TTFT,
    WAITING,
)
from monitoring.catalogue_observing import DRIFT_DETECTED, OBSERVER_UP, QUALITY_SCORE
from monitoring.readings import Exposition, grouped, histograms, increases, quantile, spread
from monitoring.spec import FAILED_OUTCOMES, MetricSpec

_ANSWER = ("task", "adapter", "role")
_View = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One version under one task and role, over the window. None: nothing was measured."""

    task: str
    adapter: str
    role: str
    requests_per_s: float | None = None
    error_share: float | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    duration_p95_s: float | None = None
    tokens_per_s: float | None = None
    """Generated tokens."""
    quality: float | None = None
    """In [0, 1], 1 is good; of several replicas the lowest."""
    drift: tuple[str, ...] | None = None
    """Signals that say that the task's requests have changed."""


@dataclass(frozen=True, slots=True)
class Held:
    """A version on a replica."""

    version: str
    status: str
    tier: str
    in_flight: int
    pinned: bool | None
    """None where only the metrics tell."""


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """A replica and what it holds."""

    replica: str
    ready: bool | None
    """None where only the metrics tell."""
    revision: int | None
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """The last automatic rollout of an alias."""

    alias: str
    candidate: str
    phase: str
    share: float


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the history."""

    at: str
    """ISO 8601."""
    who: str
    what: str
    alias: str
    version: str
    why: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that one look at a gateway found."""

    url: str
    at: float
    """Unix seconds."""
    window_s: float | None
    """Time that rates, shares and quantiles are over; None: there is one scrape alone, and they are missing."""
    ready: bool | None
    state: str
    """Why it is not ready; empty where it is."""
    in_flight: int
    waiting: int
    revision: int | None
    catalog_reachable: bool | None
    silent_replicas: int
    observer_up: bool | None
    """None where answers are not observed."""
    rows: tuple[Row, ...]
    replicas: tuple[ReplicaRow, ...]
    rollouts: tuple[RolloutRow, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    """What is missing, and why."""

    def in_order(self, sort: str) -> "Frame":
        """The same with its rows in one of the orders of ``SORTS``."""
        return replace(self, rows=tuple(sorted_rows(self.rows, sort)))

    def to_json(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Admin:
    """What the admin API answered. None: it did not, and ``problem`` says why."""

    adapters: _View | None = None
    history: _View | None = None
    problem: str = ""


def _traffic(row: Row) -> float:
    return row.requests_per_s or 0.0


SORTS: dict[str, Callable[[Row], tuple[float, ...]]] = {
    "traffic": lambda row: (-_traffic(row),),
    "ttft": lambda row: (-(row.ttft_p95_s or 0.0), -_traffic(row)),
    "errors": lambda row: (-(row.error_share or 0.0), -_traffic(row)),
    "quality": lambda row: (2.0 if row.quality is None else row.quality, -_traffic(row)),
    "drift": lambda row: (-len(row.drift or ()), -_traffic(row)),
    "name": lambda _: (),
}
"""Orders of the versions, by name: the busiest or worst first."""


def sorted_rows(rows: Iterable[Row], sort: str) -> list[Row]:
    """The rows in one of the orders of ``SORTS``."""
    key = SORTS[sort]
    return sorted(rows, key=lambda row: (*key(row), row.task, row.adapter, row.role))


def next_sort(sort: str) -> str:
    """The order after ``sort``."""
    names = list(SORTS)
    return names[(names.index(sort) + 1) % len(names)]


def make_frame(
    url: str,
    before: Exposition | None,
    after: Exposition,
    admin: Admin,
    *,
    at: float,
    state: str | None = "",
) -> Frame:
    """The frame of two scrapes.

    Args:
        before: the earlier one; None: there is none yet.
        at: when the later one was made, in Unix seconds.
        state: why the gateway is not ready; empty: it is; None: unknown.
    """
    quality, drift = after.values(QUALITY_SCORE.name), after.values(DRIFT_DETECTED.name)
    absent = [name for name, found in (("quality", quality), ("drift", drift)) if not found]
    notes = [f"{' and '.join(absent)}: this gateway measures none yet"] if absent else []
    if admin.problem:
        notes.append(f"no admin API ({admin.problem}): replicas are as the metrics tell, changes unknown")
    reachable = spread(after.values(CATALOG_REACHABLE.name), []).get(())
    observer = spread(after.values(OBSERVER_UP.name), []).get(())
    return Frame(
        url=url,
        at=at,
        window_s=None if before is None else after.at - before.at,
        ready=None if state is None else not state,
        state=state or "",
        in_flight=_total(after, IN_FLIGHT),
        waiting=_total(after, WAITING),
        revision=None if admin.adapters is None else int(admin.adapters["revision"]),
        catalog_reachable=None if reachable is None else reachable[0] > 0,
        silent_replicas=int(spread(after.values(SILENT_REPLICAS.name), []).get((), (0, 0))[1]),
        observer_up=None if observer is None else observer[0] > 0,
        rows=_rows(before, after),
        replicas=_replicas_told(after) if admin.adapters is None else _replicas_listed(admin.adapters),
        rollouts=_rollouts(after),
        changes=() if admin.history is None else tuple(_change(event) for event in admin.history["data"]),
        notes=tuple(notes),
    )


def _rows(before: Exposition | None, after: Exposition) -> tuple[Row, ...]:
    keys = sorted(grouped(after.values(REQUESTS.name), _ANSWER))
    quality = spread(after.values(QUALITY_SCORE.name), ("task", "adapter"))
    drift = _drift(after)
    rates = _Rates(before, after)
    return tuple(
        Row(
            key[0],
            key[1],
            key[2],
            requests_per_s=rates.requests(key),
            error_share=rates.errors(key),
            ttft_p50_s=rates.quantile(TTFT, 0.5, key),
            ttft_p95_s=rates.quantile(TTFT, 0.95, key),
            duration_p95_s=rates.quantile(DURATION, 0.95, key),
            tokens_per_s=rates.tokens(key),
            quality=quality[key[:2]][0] if key[:2] in quality else None,
            drift=None if drift is None else drift.get(key[0]),
        )
        for key in keys
    )


class _Rates:
    """What happened between two scrapes, by task, adapter and role."""

    def __init__(self, before: Exposition | None, after: Exposition) -> None:
        self._seconds = 0.0 if before is None else after.at - before.at

        def grown(name: str, by: Sequence[str]) -> dict[tuple[str, ...], float]:
            return {} if before is None else grouped(increases(before, after, name), by)

        def buckets(spec: MetricSpec) -> dict[tuple[str, ...], dict[float, float]]:
            return {} if before is None else histograms(increases(before, after, f"{spec.name}_bucket"), _ANSWER)

        self._outcomes = grown(REQUESTS.name, (*_ANSWER, "outcome"))
        self._requests = grown(REQUESTS.name, _ANSWER)
        self._tokens = grown(COMPLETION_TOKENS.name, _ANSWER)
        self._buckets = {spec.name: buckets(spec) for spec in (TTFT, DURATION)}

    def requests(self, key: tuple[str, ...]) -> float | None:
        return self._rate(self._requests.get(key))

    def tokens(self, key: tuple[str, ...]) -> float | None:
        return self._rate(self._tokens.get(key))

    def errors(self, key: tuple[str, ...]) -> float | None:
        requests = self._requests.get(key, 0.0)
        if not requests:
            return None
        return sum(self._outcomes.get((*key, outcome), 0.0) for outcome in FAILED_OUTCOMES) / requests

    def quantile(self, spec: MetricSpec, q: float, key: tuple[str, ...]) -> float | None:
        return quantile(q, self._buckets[spec.name].get(key, {}))

    def _rate(self, count: float | None) -> float | None:
        return None if count is None or self._seconds <= 0 else count / self._seconds


def _drift(after: Exposition) -> dict[str, tuple[str, ...]] | None:
    """By task, the signals that detect something; None where nobody looks."""
    values = spread(after.values(DRIFT_DETECTED.name), ("task", "signal"))
    if not values:
        return None
    tasks = sorted({task for task, _ in values})
    return {
        task: tuple(sorted(signal for (of, signal), (_, high) in values.items() if of == task and high > 0))
        for task in tasks
    }


def _total(after: Exposition, spec: MetricSpec) -> int:
    return int(sum(value for value in after.values(spec.name).values() if math.isfinite(value)))


def _replicas_listed(adapters: _View) -> tuple[ReplicaRow, ...]:
    return tuple(
        ReplicaRow(
            replica["replica"],
            replica["ready"],
            replica["revision"],
            tuple(
                Held(held["version"], held["status"], held["tier"], held["in_flight"], held["pinned"])
                for held in sorted(replica["holdings"], key=lambda held: str(held["version"]))
            ),
        )
        for replica in adapters["replicas"]
    )


def _replicas_told(after: Exposition) -> tuple[ReplicaRow, ...]:
    """The replicas, as their metrics tell."""
    busy = grouped(after.values(ADAPTER_IN_FLIGHT.name), ("replica", "adapter"))
    held: dict[str, list[Held]] = {}
    for labels, value in sorted(after.values(ADAPTER_RESIDENT.name).items()):
        plain = dict(labels)
        replica, version = plain.get("replica", ""), plain.get("adapter", "")
        if value > 0:
            in_flight = int(busy.get((replica, version), 0))
            place = Held(version, plain.get("status", ""), plain.get("tier", ""), in_flight, None)
            held.setdefault(replica, []).append(place)
    return tuple(ReplicaRow(replica, None, None, tuple(found)) for replica, found in sorted(held.items()))


def _rollouts(after: Exposition) -> tuple[RolloutRow, ...]:
    """The last ones that the replicas know of; each says the same."""
    shares = spread(after.values(ROLLOUT_SHARE.name), ("alias", "adapter"))
    phases = spread(after.values(ROLLOUT_PHASE.name), ("alias", "adapter", "phase"))
    return tuple(
        RolloutRow(alias, candidate, phase, shares.get((alias, candidate), (0.0, 0.0))[1])
        for (alias, candidate, phase), (_, high) in sorted(phases.items())
        if high > 0
    )


def _change(event: _View) -> Change:
    return Change(
        event["at"], event["actor"], event["action"], event["alias"], event["version"] or "", event["detail"] or ""
    )
