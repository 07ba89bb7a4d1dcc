"""What an automatic rollout does next: a state machine over what is seen. Pure.

The plan says where the alias should stand; whoever carries it out makes it so. A state is written down before it is
carried out, so that a process that dies in between is followed by one that finds out which of the two happened.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.rollout_types import Phase
from adapters.types import Alias
from serving.life.evidence import Reading
from serving.settings.life import RolloutSettings

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class State:
    """Where a rollout stands."""

    phase: Phase
    candidate: str
    stable: str | None
    started: float
    """Unix seconds."""
    step: int = 0
    """Index of the canary's step."""
    applied: bool = False
    """Whether the alias was brought to where this state wants it."""
    since: float = 0.0
    """When the alias was, Unix seconds."""
    requests_before: int = 0
    """The candidate's requests when the phase or step began."""
    reason: str = ""
    history: tuple[Mapping[str, Any], ...] = field(default=())
    """One entry for each change, for the report at the end."""

    def to_json(self) -> dict[str, Any]:
        """What is not in the rollout's own columns."""
        names = ("started", "step", "applied", "since", "requests_before")
        return {name: getattr(self, name) for name in names} | {"history": [dict(entry) for entry in self.history]}


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at one moment."""

    now: float
    """Unix seconds."""
    alias: Alias
    readings: Sequence[Reading] = ()
    requests: int = 0
    """That the candidate has answered in the role that the phase gives it."""
    replicas: int = 0
    """Live ones."""


def share_of(state: State, policy: RolloutSettings) -> float:
    """The share of the callers that the state gives to the candidate."""
    return policy.steps[state.step] if state.phase is Phase.CANARY else 0.0


def is_as_wanted(state: State, alias: Alias, policy: RolloutSettings) -> bool:
    """Whether the alias stands where the state wants it."""
    canary, shadow = alias.canary == state.candidate, alias.shadow == state.candidate
    match state.phase:
        case Phase.SHADOW:
            return shadow and not canary and alias.stable == state.stable
        case Phase.CANARY:
            right_share = math.isclose(alias.canary_share, share_of(state, policy))
            return canary and right_share and not shadow and alias.stable == state.stable
        case Phase.PROMOTING:
            return alias.stable == state.candidate
        case Phase.ROLLING_BACK:
            return not canary and not shadow and alias.stable == state.stable
        case _:
            return True


def decide(state: State, seen: Seen, policy: RolloutSettings) -> State:
    """The state to be in now: the same one where there is nothing to do."""
    if state.phase.ended or state.phase is Phase.EXAMINING:
        return state
    if (taken := _taken_over(state, seen.alias, policy)) is not None:
        return _move(state, seen, Phase.STOPPED, taken)
    if state.phase.watched and (forced := _forced(state, seen, policy)) is not None:
        return forced
    if not state.applied:
        if not is_as_wanted(state, seen.alias, policy):
            return state
        if state.phase is Phase.PROMOTING:
            return _move(state, seen, Phase.PROMOTED, state.reason)
        if state.phase is Phase.ROLLING_BACK:
            return _move(state, seen, Phase.ROLLED_BACK, state.reason)
        return replace(state, applied=True, since=seen.now, requests_before=seen.requests)
    return _watch(state, seen, policy)


def begin(state: State, seen: Seen, policy: RolloutSettings, why: str) -> State:
    """What follows an examination that was passed, or that nobody asked for."""
    if policy.on_pass == "candidate":  # noqa: S105  (no password)
        return _move(state, seen, Phase.KEPT, f"{why}; its policy leaves the rest to people")
    if state.stable is None:
        first = "the adapter's first version: there is nothing to compare it with"
        return _move(state, seen, Phase.PROMOTING, f"{first}; {why}")
    match policy.on_pass:
        case "promote":
            return _move(state, seen, Phase.PROMOTING, why)
        case "shadow":
            return _move(state, seen, Phase.SHADOW, why)
        case _:
            return _move(state, seen, Phase.CANARY, why)


def end(state: State, seen: Seen, phase: Phase, reason: str) -> State:
    """The state with which the rollout ends for a reason from outside."""
    return _move(state, seen, phase, reason)


def _watch(state: State, seen: Seen, policy: RolloutSettings) -> State:
    """The alias stands as wanted: do the signals allow the next step?"""
    done = _step_done(state, seen, policy)
    if done is None or not seen.replicas:
        return state
    if state.phase is Phase.SHADOW:
        return _move(state, seen, Phase.CANARY, f"after the shadow, {done}: {_told(seen.readings)}")
    if state.step + 1 < len(policy.steps):
        return _move(state, seen, Phase.CANARY, f"{done}: {_told(seen.readings)}", step=state.step + 1)
    return _move(state, seen, Phase.PROMOTING, f"the last step ended, {done}: {_told(seen.readings)}")


def _forced(state: State, seen: Seen, policy: RolloutSettings) -> State | None:
    """What must happen whatever the step: a version that is worse leaves at once, and nothing goes on for ever."""
    flips = state.phase is Phase.PROMOTING
    if flips and is_as_wanted(state, seen.alias, policy):
        return None
    worse = [reading for reading in seen.readings if reading.worse]
    if worse:
        return _move(state, seen, Phase.ROLLING_BACK, f"worse than {state.stable}: {_told(worse)}")
    if seen.now - state.started > policy.max_hours * _HOUR_S and not (flips and policy.at_limit == "promote"):
        return _at_limit(state, seen, policy)
    return None


def _step_done(state: State, seen: Seen, policy: RolloutSettings) -> str | None:
    """Why the shadow or the step may end; None where it may not."""
    requests = seen.requests - state.requests_before
    telling = [reading for reading in seen.readings if reading.awaited and not reading.silent]
    if telling and requests > 0 and all(reading.not_worse for reading in telling):
        return "proved to be no worse"
    if state.phase is Phase.SHADOW:
        return f"{requests} copies and no sign of harm" if requests >= policy.shadow_requests else None
    if requests >= policy.min_requests and seen.now - state.since >= policy.min_seconds:
        return f"{requests} requests and no sign of harm"
    return None


def _at_limit(state: State, seen: Seen, policy: RolloutSettings) -> State:
    why = f"not decided within {policy.max_hours:g} h: {_told(seen.readings)}"
    match policy.at_limit:
        case "rollback":
            return _move(state, seen, Phase.ROLLING_BACK, why)
        case "promote":
            return _move(state, seen, Phase.PROMOTING, why)
        case _:
            return _move(state, seen, Phase.STOPPED, why)


def _taken_over(state: State, alias: Alias, policy: RolloutSettings) -> str | None:
    """What somebody else did to the alias; None where it is as this rollout left it, or is on its way."""
    name = state.candidate
    if state.phase is not Phase.PROMOTING and alias.stable == name:
        return f"{name} was promoted by hand"
    if alias.stable != state.stable and not (state.phase is Phase.PROMOTING and alias.stable == name):
        return f"the stable version was changed by hand, from {state.stable} to {alias.stable}"
    if alias.canary not in (None, name):
        return f"{alias.canary} was made the canary by hand"
    if not state.applied or is_as_wanted(state, alias, policy):
        return None
    if state.phase is Phase.SHADOW:
        return f"the shadow of {name} was changed by hand"
    if alias.canary is None:
        return f"the canary {name} was ended by hand"
    return f"the canary {name} was changed by hand"


def _move(state: State, seen: Seen, phase: Phase, reason: str, *, step: int = 0) -> State:
    entry = {"at": seen.now, "phase": phase.value, "step": step, "reason": reason}
    moved = replace(state, phase=phase, step=step, applied=False, since=seen.now, reason=reason)
    return replace(moved, history=(*state.history, entry))


def _told(readings: Sequence[Reading]) -> str:
    return "; ".join(str(reading) for reading in readings if not reading.silent) or "no request was looked at"
