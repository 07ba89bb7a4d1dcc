"""The acts of the story, as they are judged and told."""

from pathlib import Path
from typing import Any

from adapters.digest import digest_folder
from benchmarks.fleet import REPOSITORY
from benchmarks.story_acts import PARTS, Act, report, stronger, timeline_of

ONE, TWO, BAD = "triage@11111111", "triage@22222222", "triage@33333333"
STARTED = "2026-01-01T00:00:00+00:00"
STARTED_AT = 1767225600.0


def act(number: int, version: str, phase: str, *passed: str, begun: float, before: str | None = ONE) -> Act:
    """An act of ten seconds, whose rollout went through the phases ``passed``, one after each second."""
    history = [
        {"at": STARTED_AT + second, "phase": name, "step": 0, "reason": f"for {name}"}
        for second, name in enumerate((*passed, phase), start=1)
    ]
    rollout: dict[str, Any] = {"phase": phase, "reason": "why", "started_at": STARTED, "history": history}
    return Act(PARTS[number - 1], version, before, begun, begun + 2, begun + 10, rollout)


FIRST = act(1, ONE, "promoted", "promoting", begun=0.0, before=None)
BETTER = act(2, TWO, "promoted", "canary", "promoting", begun=100.0)
WORSE = act(3, BAD, "refused", begun=200.0, before=TWO)
BROKEN = act(4, BAD, "rolled_back", "canary", "rolling_back", begun=300.0, before=TWO)


def test_a_version_that_was_promoted_answers_alone_afterwards() -> None:
    line = timeline_of([FIRST, BETTER])
    assert line.between(50.0, 51.0) == {ONE}
    assert line.between(105.0, 106.0) == {ONE, TWO}
    assert line.between(111.0, 112.0) == {TWO}


def test_a_version_that_no_gate_passed_may_never_answer() -> None:
    line = timeline_of([FIRST, BETTER, WORSE])
    assert line.between(201.0, 230.0) == {TWO}


def test_a_version_that_was_rolled_back_may_not_answer_afterwards() -> None:
    line = timeline_of([FIRST, BETTER, BROKEN])
    assert line.between(305.0, 306.0) == {TWO, BAD}
    assert line.between(311.0, 312.0) == {TWO}


def test_an_act_is_told_with_its_steps_and_reasons() -> None:
    told = report(BETTER, [], clock=STARTED_AT - 100.0)
    assert (told["ended_as"], told["should_end_as"]) == ("promoted", "promoted")
    assert (told["seconds"], told["making_s"], told["examining_s"]) == (10.0, 2.0, 1.0)
    assert [step["reason"] for step in told["steps"]] == ["for canary", "for promoting", "for promoted"]
    assert "until_rollback" not in told


def test_a_rollback_is_told_with_its_requests_and_seconds() -> None:
    told = report(BROKEN, [], clock=STARTED_AT - 300.0)
    assert told["until_rollback"]["seconds"] == 1.0
    assert told["until_rollback"]["candidate_requests"] == 0


def test_a_stronger_adapter_is_another_version(tmp_path: Path) -> None:
    source = REPOSITORY / "examples" / "adapters" / "ticket-triage-v1"
    assert digest_folder(stronger(source, tmp_path / "stronger")) != digest_folder(source)
