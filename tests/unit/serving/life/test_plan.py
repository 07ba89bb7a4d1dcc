"""The state machine of automatic rollouts."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.rollout_types import Phase
from adapters.types import Alias
from serving.config import RolloutSettings
from serving.life.evidence import Reading
from serving.life.plan import Seen, State, begin, decide, is_as_wanted, share_of

NEW, OLD, OTHER = "triage@22222222", "triage@11111111", "triage@33333333"
START = 1000.0


def policy(**changes: Any) -> RolloutSettings:
    return RolloutSettings.model_validate(
        {"on_pass": "canary", "steps": [0.1, 0.5], "min_requests": 100, "shadow_requests": 50, "max_hours": 1} | changes
    )


def reading(signal: str = "errors", *, worse: bool = False, not_worse: bool = False, n: int = 10) -> Reading:
    return Reading(signal, 0, n, 0, n, worse, not_worse, 0.5, (-0.1, 0.1), 0.01, 0.02)


def canary(step: int = 0, *, applied: bool = True, **changes: Any) -> State:
    state = State(Phase.CANARY, NEW, OLD, START, step=step, applied=applied, since=START)
    return replace(state, **changes)


def alias(**changes: Any) -> Alias:
    return replace(Alias("triage", stable=OLD, canary=NEW, canary_share=0.1), **changes)


def seen(
    on: Alias | None = None, *readings: Reading, now: float = START + 10, requests: int = 0, live: int = 1
) -> Seen:
    return Seen(now, on or alias(), readings, requests, live)


def test_a_canary_waits_for_the_steps_evidence() -> None:
    state = canary()
    assert decide(state, seen(None, reading(), requests=99), policy()) is state


def test_enough_requests_without_harm_make_the_share_grow() -> None:
    after = decide(canary(requests_before=7), seen(None, reading(), requests=107), policy())
    assert (after.phase, after.step, after.applied) == (Phase.CANARY, 1, False)
    assert share_of(after, policy()) == 0.5
    assert "100 requests" in after.reason
    assert after.history[-1]["reason"] == after.reason


def test_enough_requests_are_not_enough_before_the_steps_time() -> None:
    state, patient = canary(), policy(min_seconds=60.0)
    assert decide(state, seen(None, reading(), requests=500), patient) is state
    assert decide(state, seen(None, reading(), requests=500, now=START + 60), patient).step == 1


def test_proof_by_every_telling_signal_makes_the_share_grow_at_once() -> None:
    proved = [reading(not_worse=True), reading("feedback", n=0)]
    assert decide(canary(), seen(None, *proved, requests=5), policy()).step == 1
    unproved = [*proved, reading("slow")]
    state = canary()
    assert decide(state, seen(None, *unproved, requests=5), policy()) is state


def test_a_step_does_not_wait_for_what_samples_prove() -> None:
    proved, scored = reading(not_worse=True), replace(reading("judge"), awaited=False)
    assert decide(canary(), seen(None, proved, scored, requests=1), policy()).step == 1
    state = canary()
    assert decide(state, seen(None, reading(), replace(scored, not_worse=True), requests=1), policy()) is state
    worse = decide(state, seen(None, proved, replace(scored, worse=True), requests=1), policy())
    assert worse.phase is Phase.ROLLING_BACK


def test_old_proof_needs_requests_of_the_new_step() -> None:
    state = canary(1, requests_before=5)
    stands = alias(canary_share=0.5)
    assert decide(state, seen(stands, reading(not_worse=True), requests=5), policy()) is state


def test_the_last_step_ends_in_promotion() -> None:
    stands = alias(canary_share=0.5)
    after = decide(canary(1), seen(stands, reading(), requests=100), policy())
    assert (after.phase, after.applied) == (Phase.PROMOTING, False)
    done = decide(after, seen(Alias("triage", stable=NEW, previous=OLD)), policy())
    assert done.phase is Phase.PROMOTED
    assert done.reason == after.reason


def test_a_version_that_turns_out_worse_before_its_promotion_is_rolled_back() -> None:
    state, stands = canary(phase=Phase.PROMOTING, applied=False), alias(canary_share=0.5)
    assert decide(state, seen(stands, reading()), policy()) is state
    assert decide(state, seen(stands, reading(worse=True)), policy()).phase is Phase.ROLLING_BACK
    flipped = Alias("triage", stable=NEW, previous=OLD)
    assert decide(state, seen(flipped, reading(worse=True)), policy()).phase is Phase.PROMOTED


@pytest.mark.parametrize(
    ("at_limit", "phase"),
    [("rollback", Phase.ROLLING_BACK), ("promote", Phase.PROMOTING), ("stop", Phase.STOPPED)],
)
def test_a_promotion_that_does_not_come_about_has_a_time_limit(at_limit: str, phase: Phase) -> None:
    state = canary(phase=Phase.PROMOTING, applied=False)
    after = decide(state, seen(alias(canary_share=0.5), now=START + 3601), policy(at_limit=at_limit))
    assert after.phase is phase
    assert (after is state) == (phase is Phase.PROMOTING)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("applied", [True, False])
def test_a_worse_signal_rolls_back_at_once_whatever_the_step(step: int, *, applied: bool) -> None:
    bad = [reading(not_worse=True), reading("contract", worse=True)]
    state = canary(step, applied=applied)
    after = decide(state, seen(alias(canary_share=[0.1, 0.5][step]), *bad, requests=1000), policy())
    assert (after.phase, after.applied) == (Phase.ROLLING_BACK, False)
    assert "contract 0/10 against 0/10" in after.reason
    assert "errors" not in after.reason
    done = decide(after, seen(Alias("triage", stable=OLD)), policy())
    assert (done.phase, done.reason) == (Phase.ROLLED_BACK, after.reason)


def test_a_step_counts_from_when_the_alias_stands() -> None:
    state = canary(applied=False)
    waiting = seen(Alias("triage", stable=OLD), requests=30)
    assert decide(state, waiting, policy()) is state
    after = decide(state, seen(requests=30), policy())
    assert (after.applied, after.requests_before, after.since) == (True, 30, START + 10)


def test_without_replicas_nothing_grows() -> None:
    state = canary()
    assert decide(state, seen(None, reading(), requests=1000, live=0), policy()) is state


@pytest.mark.parametrize(
    ("at_limit", "phase"),
    [("rollback", Phase.ROLLING_BACK), ("promote", Phase.PROMOTING), ("stop", Phase.STOPPED)],
)
def test_the_time_limit_does_what_the_policy_says(at_limit: str, phase: Phase) -> None:
    late = seen(None, reading(), now=START + 3601)
    after = decide(canary(), late, policy(at_limit=at_limit))
    assert after.phase is phase
    assert "not decided within 1 h" in after.reason


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"stable": NEW, "canary": None, "canary_share": 0.0, "previous": OLD}, "was promoted by hand"),
        ({"canary": None, "canary_share": 0.0}, "was ended by hand"),
        ({"canary_share": 0.9}, "was changed by hand"),
        ({"canary": OTHER}, f"{OTHER} was made the canary by hand"),
        ({"stable": OTHER}, "the stable version was changed by hand"),
    ],
)
def test_what_somebody_does_by_hand_ends_the_automation(changed: dict[str, Any], why: str) -> None:
    worse_too = reading("contract", worse=True)
    after = decide(canary(), seen(alias(**changed), worse_too), policy())
    assert after.phase is Phase.STOPPED
    assert why in after.reason


def test_a_step_that_is_on_its_way_is_not_taken_for_somebodys_change() -> None:
    state = canary(1, applied=False)
    assert decide(state, seen(alias(canary_share=0.1)), policy()) is state


def test_a_promotion_by_somebody_else_while_rolling_back_is_respected() -> None:
    state = canary(phase=Phase.ROLLING_BACK, applied=False)
    assert decide(state, seen(Alias("triage", stable=NEW, previous=OLD)), policy()).phase is Phase.STOPPED


def test_a_shadow_becomes_a_canary_once_it_has_seen_enough() -> None:
    state = canary(phase=Phase.SHADOW)
    stands = Alias("triage", stable=OLD, shadow=NEW)
    assert decide(state, seen(stands, reading(), requests=49), policy()) is state
    after = decide(state, seen(stands, reading(), requests=50), policy())
    assert (after.phase, after.step, after.applied) == (Phase.CANARY, 0, False)
    assert not is_as_wanted(after, alias(shadow=NEW), policy())
    assert is_as_wanted(after, alias(), policy())


def test_a_shadow_that_is_worse_is_ended() -> None:
    state = canary(phase=Phase.SHADOW)
    after = decide(state, seen(Alias("triage", stable=OLD, shadow=NEW), reading(worse=True)), policy())
    assert after.phase is Phase.ROLLING_BACK
    assert not is_as_wanted(after, Alias("triage", stable=OLD, shadow=NEW), policy())


def test_a_shadow_that_somebody_ended_ends_the_automation() -> None:
    state = canary(phase=Phase.SHADOW)
    assert (
        decide(state, seen(Alias("triage", stable=OLD)), policy()).reason == f"the shadow of {NEW} was changed by hand"
    )


@pytest.mark.parametrize(
    ("on_pass", "phase"),
    [
        ("candidate", Phase.KEPT),
        ("shadow", Phase.SHADOW),
        ("canary", Phase.CANARY),
        ("promote", Phase.PROMOTING),
    ],
)
def test_a_passed_gate_is_followed_by_what_the_policy_says(on_pass: str, phase: Phase) -> None:
    examined = canary(phase=Phase.EXAMINING, applied=False)
    after = begin(examined, seen(Alias("triage", stable=OLD)), policy(on_pass=on_pass), "passed the gate")
    assert after.phase is phase
    assert "passed the gate" in after.reason


@pytest.mark.parametrize(("on_pass", "phase"), [("candidate", Phase.KEPT), ("canary", Phase.PROMOTING)])
def test_a_first_version_has_nothing_to_be_compared_with(on_pass: str, phase: Phase) -> None:
    first = canary(phase=Phase.EXAMINING, applied=False, stable=None)
    assert begin(first, seen(Alias("triage")), policy(on_pass=on_pass), "examined").phase is phase


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.ended])
def test_what_has_ended_stays_ended(phase: Phase) -> None:
    state = canary(phase=phase)
    assert decide(state, seen(Alias("triage"), reading(worse=True)), policy()) is state


@pytest.mark.parametrize("steps", [[], [0.0], [0.5, 1.0], [0.5, 0.25], [0.25, 0.25]])
def test_steps_that_compare_nothing_are_refused(steps: list[float]) -> None:
    with pytest.raises(ValueError, match="share"):
        policy(steps=steps)
