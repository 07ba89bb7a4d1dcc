"""What ``/status`` says, as plain texts and numbers. Pure: whoever renders it escapes it.

Nothing that a caller sent or was answered can get in: it is made of names, counts, times, error codes and the
reasons that the history gives.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from adapters.types import AdapterEvent, Alias, Holding, HoldingStatus, ReplicaReport
from serving.config import GatewayConfig
from serving.overview import Overview

Tone = Literal["good", "bad", "unsure", "plain"]

_LONGEST = 240
"""Characters of one text."""
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))
_TONES: dict[HoldingStatus, Tone] = {
    HoldingStatus.READY: "good",
    HoldingStatus.LOADING: "unsure",
    HoldingStatus.DRAINING: "unsure",
    HoldingStatus.FAILED: "bad",
}
_BAD_PHASES = ("rolled_back", "rolling_back", "refused", "failed")


@dataclass(frozen=True, slots=True)
class Part:
    """How one part of the gateway is."""

    name: str
    state: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read."""

    overview: Overview
    events: Sequence[AdapterEvent]
    """Newest first."""
    catalog_reachable: bool
    """False: the overview is what this replica last read, and nothing is known of the others."""
    knowledge_answers: bool | None
    """None where the configuration has none."""
    observer_behind: bool
    """Whether what was counted of requests could not be written lately."""
    answers_observed: bool | None
    """Whether drift and output quality are measured in full; None where the configuration does not ask for it."""
    ready: bool
    """Whether this replica answers generations."""
    message: str
    """What this replica is doing, or why it is not ready."""
    at: datetime


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task, and what answers it now."""

    name: str
    adapter: str
    """Its alias; empty: the base model."""
    version: str
    """The stable version; empty where there is none."""
    retrieves: bool


@dataclass(frozen=True, slots=True)
class AliasLine:
    """An alias, its versions and its last automatic rollout."""

    name: str
    stable: str
    canary: str
    share: str
    shadow: str
    previous: str
    rollout: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class HoldingLine:
    """A version on a replica."""

    version: str
    tier: str
    status: str
    tone: Tone
    in_flight: int
    pinned: bool
    problem: str
    """An error code, never an error's text: that may tell of paths and addresses."""


@dataclass(frozen=True, slots=True)
class ReplicaLine:
    """A live replica."""

    name: str
    ready: bool
    revision: int
    behind: bool
    """Whether it serves by an older revision than the catalog's."""
    reported: str
    holdings: tuple[HoldingLine, ...]


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A line of the history."""

    when: str
    ago: str
    who: str
    what: str
    alias: str
    version: str
    why: str


@dataclass(frozen=True, slots=True)
class StatusView:
    """The page."""

    model: str
    replica: str
    """The one that answers."""
    ready: bool
    headline: str
    at: str
    revision: int
    catalog_reachable: bool
    parts: tuple[Part, ...]
    tasks: tuple[TaskLine, ...]
    aliases: tuple[AliasLine, ...]
    replicas: tuple[ReplicaLine, ...]
    changes: tuple[ChangeLine, ...]


def status_view(config: GatewayConfig, replica: str, facts: Facts) -> StatusView:
    """The page that ``replica`` shows."""
    snapshot = facts.overview.snapshot
    return StatusView(
        model=clean(config.model.public_name),
        replica=clean(replica),
        ready=facts.ready,
        headline="Ready" if facts.ready else f"Not ready: {clean(facts.message)}",
        at=_moment(facts.at),
        revision=snapshot.revision,
        catalog_reachable=facts.catalog_reachable,
        parts=tuple(_parts(config, facts)),
        tasks=tuple(_task(config, name, facts.overview) for name in sorted(config.tasks)),
        aliases=tuple(_alias(alias, facts.overview) for _, alias in sorted(snapshot.aliases.items())),
        replicas=tuple(_replica(report, snapshot.revision, facts.at) for report in facts.overview.replicas),
        changes=tuple(_change(event, facts.at) for event in facts.events),
    )


def clean(text: str) -> str:
    """One short line without control characters, without those that turn the reading direction, and without the user
    and password of a URL.
    """
    line = " ".join(_CREDENTIALS.sub("…@", text).split())
    line = "".join("?" if unicodedata.category(one)[0] == "C" else one for one in line)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _parts(config: GatewayConfig, facts: Facts) -> list[Part]:
    catalog = Part("Catalog", f"revision {facts.overview.snapshot.revision}", "good")
    if not facts.catalog_reachable:
        catalog = Part("Catalog", "cannot be read; requests are served by its last known state", "bad")
    counting = Part("Rollouts", "counts are written", "good")
    if facts.observer_behind:
        counting = Part("Rollouts", "counts wait: the state database is away", "bad")
    knowledge, monitoring = _knowledge(answers=facts.knowledge_answers), _monitoring(observed=facts.answers_observed)
    return [_engines(config, facts), catalog, knowledge, counting, monitoring]


def _engines(config: GatewayConfig, facts: Facts) -> Part:
    if not facts.catalog_reachable:
        return Part("Engines", "this replica's answers" if facts.ready else "this replica's does not answer", "unsure")
    ready = sum(report.ready for report in facts.overview.replicas)
    wanted = max(config.replicas, len(facts.overview.replicas))
    tone: Tone = "good" if ready == wanted else "unsure" if ready else "bad"
    return Part("Engines", f"{ready} of {wanted} ready", tone)


def _knowledge(*, answers: bool | None) -> Part:
    match answers:
        case None:
            return Part("Knowledge", "not configured", "plain")
        case True:
            return Part("Knowledge", "answers", "good")
        case _:
            return Part("Knowledge", "does not answer", "bad")


def _monitoring(*, observed: bool | None) -> Part:
    match observed:
        case None:
            return Part("Monitoring", "not configured", "plain")
        case True:
            return Part("Monitoring", "answers are observed", "good")
        case _:
            return Part("Monitoring", "answers are not observed in full; they are given as before", "bad")


def _task(config: GatewayConfig, name: str, overview: Overview) -> TaskLine:
    task = config.tasks[name]
    alias = overview.snapshot.aliases.get(task.adapter or "")
    return TaskLine(
        name=clean(name),
        adapter=clean(task.adapter or ""),
        version=clean((alias.stable if alias is not None else None) or ""),
        retrieves=task.retrieval is not None,
    )


def _alias(alias: Alias, overview: Overview) -> AliasLine:
    mark = overview.snapshot.rollouts.get(alias.name)
    rollout = ""
    tone: Tone = "plain"
    if mark is not None:
        share = f", {mark.share:.0%} of callers" if mark.share and not mark.phase.ended else ""
        rollout = f"{mark.candidate}: {mark.phase.value.replace('_', ' ')}{share}"
        tone = "unsure" if not mark.phase.ended else "bad" if mark.phase.value in _BAD_PHASES else "good"
    return AliasLine(
        name=clean(alias.name),
        stable=clean(alias.stable or ""),
        canary=clean(alias.canary or ""),
        share=f"{alias.canary_share:.0%}" if alias.canary else "",
        shadow=clean(alias.shadow or ""),
        previous=clean(alias.previous or ""),
        rollout=clean(rollout),
        tone=tone,
    )


def _replica(report: ReplicaReport, revision: int, now: datetime) -> ReplicaLine:
    return ReplicaLine(
        name=clean(report.replica),
        ready=report.ready,
        revision=report.revision,
        behind=report.revision < revision,
        reported="" if report.reported_at is None else _ago(report.reported_at, now),
        holdings=tuple(_holding(holding) for holding in sorted(report.holdings, key=lambda held: held.version)),
    )


def _holding(holding: Holding) -> HoldingLine:
    return HoldingLine(
        version=clean(holding.version),
        tier=holding.tier.value,
        status=holding.status.value,
        tone=_TONES[holding.status],
        in_flight=holding.in_flight,
        pinned=holding.pinned,
        problem=clean(holding.error_code or ""),
    )


def _change(event: AdapterEvent, now: datetime) -> ChangeLine:
    return ChangeLine(
        when=_moment(event.at),
        ago=_ago(event.at, now),
        who=clean(event.actor),
        what=clean(event.action),
        alias=clean(event.alias),
        version=clean(event.version or ""),
        why=clean(event.detail),
    )


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _ago(moment: datetime, now: datetime) -> str:
    """Time since a moment in its largest unit."""
    seconds = max(0.0, (now - moment).total_seconds())
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"
